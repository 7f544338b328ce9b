"""What a result's file is called, and that it stays inside --out."""

import errno
import hashlib
import os
import posixpath
import re
import unicodedata
from pathlib import Path, PurePosixPath

from batchswap.errors import Flaw, UsageError
from batchswap.manifest.fields import USE_UTF8, nearest, plain_text, shown
from batchswap.manifest.seen_texts import SeenTexts, folded, folders_of
from batchswap.tasks import Model, is_url

LONGEST_PART = 120
LONGEST_GIVEN_PART = 240
LONGEST_OUTPUT = 1024
REMEMBERED = 10_000
DEFAULT_TEMPLATE = "{batch}/{key}{ext}"
TEMPLATE_FIELDS = ("batch", "key", "ext", "line", "stem")

# Names that some systems take for devices, whatever ending follows.
UNSAFE_IN_NAME = re.compile(r"[^\w.-]")
ORDINARY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{5,99}")
PLAIN_OUTPUT = re.compile(r"[A-Za-z0-9_/-]{1,100}(?:\.[A-Za-z0-9]{1,5})?")
"""What no file system refuses."""
LIKELY_PART = re.compile(r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)).{0,34}[^\s.]", re.IGNORECASE | re.DOTALL)
"""A part of a path that is refused, if at all, for one of its characters: at most 140 bytes, and no device."""
REFUSED_NAME = (errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ)
DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
FILMS = (Model.VIDEO, Model.VIDEO_MULTI)
STILLS = (".png", ".jpg", ".jpeg", ".webp")


def safe_part(text: str) -> str:
    """One part of a path made from any text. A text that had to be changed gets a hash, so two never become one."""
    if ORDINARY.fullmatch(text):
        return text
    name = UNSAFE_IN_NAME.sub("_", unicodedata.normalize("NFC", text)).lstrip(".-").rstrip(".")
    if not name or DEVICE.fullmatch(name):
        name = f"_{name}"
    if name == text and len(name.encode()) <= LONGEST_PART:
        return name
    short = name.encode()[: LONGEST_PART - 9].decode(errors="ignore")
    return f"{short}-{hashlib.sha256(text.encode(errors='backslashreplace')).hexdigest()[:8]}"


def ending(model: Model, target: str) -> str:
    """The ending of a result: ".mp4"; for a still that of its target, if it is a usual one, else ".png"."""
    if model in FILMS:
        return ".mp4"
    own = posixpath.splitext(path_part(target))[1].lower()
    return own if own in STILLS else ".png"


def stem(target: str) -> str:
    """The last part of a URL's path or of a path, without its ending."""
    return posixpath.splitext(posixpath.basename(path_part(target)))[0] or "result"


def path_part(target: str) -> str:
    """A path as it is; a URL without query and fragment."""
    return target.partition("?")[0].partition("#")[0] if is_url(target) else target


def checked_template(template: str) -> str:
    """`template`, when it names known fields only and gives a path inside --out. Raises UsageError."""
    names = re.findall(r"\{([^{}]*)\}", template)
    for name in names:
        if name not in TEMPLATE_FIELDS:
            near = nearest(name, TEMPLATE_FIELDS)
            raise UsageError(
                f"--name-template: {{{name}}} is not a field; the nearest is {{{near}}}: {shown(template)}"
            )
    if set("{}") & set(re.sub(r"\{[^{}]*\}", "", template)):
        raise UsageError(f"--name-template: a brace that is not closed or opened in {shown(template)}")
    if not names:
        raise UsageError(f"--name-template: names no field, so all results would have one name: {shown(template)}")
    try:
        normalised(template.format(batch="b", key="k", ext=".e", line="1", stem="s"))
        return normalised(template)
    except Flaw as flaw:
        raise UsageError(f"--name-template: {flaw}") from None


def normalised(text: str) -> str:
    """A path below --out, with "/" between its parts and without "./". Raises Flaw."""
    plain_text(text, LONGEST_OUTPUT)
    if "\\" in text:
        raise Flaw(f'has a "\\"; folders are separated by "/": {shown(text)}')
    if text.startswith("/"):
        raise Flaw(f"is an absolute path; an output is relative to --out: {shown(text)}")
    parts = PurePosixPath(text).parts
    if ".." in parts:
        raise Flaw(f"leaves --out: {shown(text)}")
    if not parts or text.endswith(("/", "/.")):
        raise Flaw(f"names a folder, not a file: {shown(text)}")
    if any(len(part.encode()) > LONGEST_GIVEN_PART for part in parts):
        raise Flaw(f"has a part of more than {LONGEST_GIVEN_PART} bytes: {shown(text)}")
    if parts[-1].endswith(".part"):
        raise Flaw(f'ends with ".part", which marks an unfinished download: {shown(text)}')
    return "/".join(parts)


def numbered(output: str, number: int) -> str:
    """The output of a row's n-th repetition: de/intro.mp4, de/intro-2.mp4, …"""
    path = PurePosixPath(output)
    return str(path.with_name(f"{path.stem}-{number}{path.suffix}"))


class Outputs:
    """Keeps outputs inside one folder, whatever symbolic links are in it. A folder is looked at once."""

    def __init__(self, out: str, template: str = DEFAULT_TEMPLATE) -> None:
        self.template = checked_template(template)
        self._out = out
        self._root: Path | None = None
        self._standing: Path | None = None
        """The folder --out, or while it is not made yet the nearest one above it."""
        self._inside: set[str] = set()
        self._accepted: set[str] = set()
        """Characters of names that the file system has looked up."""
        self.folders = SeenTexts()
        """Every folder that outputs lie in: no output may be a file of that name."""

    def head(self, batch: str) -> str | None:
        """What outputs of this batch begin with when key and ending are all that follows; None for other templates."""
        start = self.template.removesuffix("{key}{ext}").replace("{batch}", safe_part(batch))
        return None if "{" in start or not self.template.endswith("{key}{ext}") else start

    def check(self, output: str) -> None:
        """Raises Flaw when `output` would lie outside --out by a symbolic link, or has a name refused there."""
        if not PLAIN_OUTPUT.fullmatch(output):
            self._check_names(output)
        folder = output.rpartition("/")[0]
        if folder in self._inside:
            return
        if self._root is None:
            self._root = Path(os.path.realpath(self._out))
        if not Path(os.path.realpath(self._root / folder)).is_relative_to(self._root):
            raise Flaw(f"leaves --out through a symbolic link: {shown(output)}")
        if len(self._inside) >= REMEMBERED:
            self._inside.clear()
        self._inside.add(folder)
        self.folders.add(folded(above) for above in folders_of(output))

    def _check_names(self, output: str) -> None:
        """Raises Flaw for a name that the file system does not even look up. Nothing is written."""
        if self._standing is None:
            self._standing = Path(self._out).absolute()
            while not self._standing.is_dir() and self._standing != self._standing.parent:
                self._standing = self._standing.parent
        for part in output.split("/"):
            if self._accepted.issuperset(part) and LIKELY_PART.fullmatch(part):
                continue
            try:
                (self._standing / part).lstat()
            except UnicodeEncodeError as error:
                raise Flaw(
                    f"has letters that {error.encoding} file names do not: {shown(output)}; {USE_UTF8}"
                ) from None
            except OSError as error:
                if error.errno in REFUSED_NAME:
                    raise Flaw(
                        f"cannot be stored in --out {shown(self._out)}: {error.strerror}: {shown(output)}"
                    ) from None
            self._accepted.update(part)
