"""Names of result files, and the check that they stay inside --out."""

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

UNSAFE_IN_NAME = re.compile(r"[^\w.-]")
ORDINARY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{5,99}")
PLAIN_OUTPUT = re.compile(r"[A-Za-z0-9_/-]{1,100}(?:\.[A-Za-z0-9]{1,5})?")
"""Outputs that every file system accepts."""
LIKELY_PART = re.compile(r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)).{0,34}[^\s.]", re.IGNORECASE | re.DOTALL)
"""A part of a path that can only be refused for one of its characters: short, and no device name."""
REFUSED_NAME = (errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ)
# Names of devices on some systems, with any ending.
DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
FILMS = (Model.VIDEO, Model.VIDEO_MULTI)
STILLS = (".png", ".jpg", ".jpeg", ".webp")


def safe_part(text: str) -> str:
    """Make one part of a path from any text. A changed text gets a hash, so that two texts never become equal."""
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
    """Return the ending of a result: ".mp4", or for a still the target's ending if it is a common one, else ".png"."""
    if model in FILMS:
        return ".mp4"
    own = posixpath.splitext(path_part(target))[1].lower()
    return own if own in STILLS else ".png"


def stem(target: str) -> str:
    """Return the last part of a path or a URL's path, without its ending."""
    return posixpath.splitext(posixpath.basename(path_part(target)))[0] or "result"


def path_part(target: str) -> str:
    """Return a path unchanged, or a URL without query and fragment."""
    return target.partition("?")[0].partition("#")[0] if is_url(target) else target


def checked_template(template: str) -> str:
    """Return `template` normalised. Raise UsageError for unknown fields, and for a path outside of --out."""
    names = re.findall(r"\{([^{}]*)\}", template)
    for name in names:
        if name not in TEMPLATE_FIELDS:
            near = nearest(name, TEMPLATE_FIELDS)
            raise UsageError(f"--name-template: {{{name}}} is not a field; did you mean {{{near}}}? {shown(template)}")
    if set("{}") & set(re.sub(r"\{[^{}]*\}", "", template)):
        raise UsageError(f"--name-template: unbalanced brace in {shown(template)}")
    if not names:
        raise UsageError(f"--name-template: without a field, all results would have the same name: {shown(template)}")
    try:
        normalised(template.format(batch="b", key="k", ext=".e", line="1", stem="s"))
        return normalised(template)
    except Flaw as flaw:
        raise UsageError(f"--name-template: {flaw}") from None


def normalised(text: str) -> str:
    """Return a path relative to --out, without "./". Raise Flaw."""
    plain_text(text, LONGEST_OUTPUT)
    if "\\" in text:
        raise Flaw(f'has a "\\"; separate folders with "/": {shown(text)}')
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
    """Return the output of a row's n-th repetition: de/intro.mp4, de/intro-2.mp4, …"""
    path = PurePosixPath(output)
    return str(path.with_name(f"{path.stem}-{number}{path.suffix}"))


class Outputs:
    """Keeps outputs inside one folder, even if it contains symbolic links. Each folder is checked once."""

    def __init__(self, out: str, template: str = DEFAULT_TEMPLATE) -> None:
        self.template = checked_template(template)
        self._out = out
        self._root: Path | None = None
        self._nearest: Path | None = None
        """The folder --out, or its nearest parent that exists."""
        self._inside: set[str] = set()
        self._accepted: set[str] = set()
        """Characters of names that the file system accepts."""
        self.folders = SeenTexts()
        """All folders of outputs. No output may have the name of one."""

    def head(self, batch: str) -> str | None:
        """Return the start of this batch's outputs if the template ends with key and ending; None otherwise."""
        start = self.template.removesuffix("{key}{ext}").replace("{batch}", safe_part(batch))
        return None if "{" in start or not self.template.endswith("{key}{ext}") else start

    def check(self, output: str) -> None:
        """Raise Flaw if a symbolic link leads `output` out of --out, or if the file system refuses its name."""
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
        """Raise Flaw for a name that the file system refuses to look up. Nothing is written."""
        if self._nearest is None:
            self._nearest = Path(self._out).absolute()
            while not self._nearest.is_dir() and self._nearest != self._nearest.parent:
                self._nearest = self._nearest.parent
        for part in output.split("/"):
            if self._accepted.issuperset(part) and LIKELY_PART.fullmatch(part):
                continue
            try:
                (self._nearest / part).lstat()
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
