"""Check inputs: http(s) URLs, or files that exist."""

import os
import re
import stat
from pathlib import PurePosixPath

from batchswap.errors import Flaw
from batchswap.manifest.fields import UNSAFE, USE_UTF8, shown
from batchswap.manifest.spelling import Spellings, caseless, composed

LONGEST_URL = 2048
LONGEST_PATH = 1024
REMEMBERED = 50_000

# At least two letters, because one letter and a colon may be a Windows drive.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://|(data|file|blob|mailto|javascript|about):", re.IGNORECASE)
URL = re.compile(r"https?://(?P<authority>[^/?#\s]*)\S*")
AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:@\[\]\\\"<>]+)(?::(?P<port>[0-9]{1,5}))?")
WITHIN = re.compile(r"https?://", re.IGNORECASE)
FORMULA = re.compile(r"=\s*[A-Za-z.]+\s*\(")
AROUND = "\"'`´“”„‟‘’‚‛«»‹›<>[]()"
"""Characters that a copied text may have around a URL, and that are not part of it."""
BEHIND = ("”", "“", "„", "»", "«", ">")
BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


class ManifestInputs:
    """Checks the inputs of one manifest. Each file is checked once, however many rows use it."""

    def __init__(self, folder: str, *, check_files: bool = True) -> None:
        self._folder, self._check_files = folder, check_files
        self._known: dict[str, str | Flaw] = {}
        self._spellings = Spellings(folder)
        self.real: dict[str, str] = {}
        """Paths as written, with the file's actual name if it composes a letter differently."""

    def checked(self, text: str) -> str:
        """Return the URL unchanged, or the path without "./". Raise Flaw."""
        if text.startswith(("https://", "http://")):
            return checked_url(text)
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[text] = self._check(text)
        if isinstance(found, Flaw):
            raise Flaw(*found.args)
        return found

    def _check(self, text: str) -> str | Flaw:
        try:
            check_surroundings(text)
            if scheme := SCHEME.match(text):
                return checked_url(with_scheme(scheme[1] or scheme[2], text))
            path = checked_path(text)
            if self._check_files:
                self._check_file(path, text)
        except Flaw as flaw:
            return flaw
        return path

    def _check_file(self, path: str, text: str) -> None:
        try:
            check_file(self._folder, path, text)
        except FileNotFoundError:
            real = None if path.isascii() else self._spellings.find(path, composed)
            if real is None:
                raise Flaw(f"does not exist: {shown(text)} ({self._remedy(path, text)})") from None
            check_file(self._folder, real, text)
            self.real[path] = real

    def _remedy(self, path: str, text: str) -> str:
        if other := self._spellings.find(path, caseless):
            return f"{shown(other)} exists: check upper and lower case"
        if text[0] in AROUND and text[-1] in AROUND:
            return f"remove {text[0]}…{text[-1]} around it; looked in {shown(self._folder, 200)}"
        return f"looked in {shown(self._folder, 200)}"


def check_surroundings(text: str) -> None:
    """Raise Flaw for a formula, or for a URL with quotes or brackets around it."""
    if FORMULA.match(text):
        raise Flaw(f"is a formula: {shown(text)}; write the URL or path itself")
    if text[0] in AROUND and WITHIN.search(text):
        last = text[-1] if text[-1] in AROUND else ""
        raise Flaw(f"has {text[0]}…{last} around the URL: {shown(text)}; write the URL alone")


def with_scheme(scheme: str, text: str) -> str:
    """Return `text` with http or https in lower case. Raise Flaw for any other scheme."""
    name = scheme.lower()
    if name == "data":
        raise Flaw("is a data: URI; give an http(s) URL, or a file to upload")
    if name not in ("http", "https"):
        raise Flaw(f"has the scheme {name}:; only http(s) URLs and paths of files are accepted")
    return name + text[len(scheme) :]


def checked_url(text: str) -> str:
    """Return `text` if it is a valid http(s) URL. Raise Flaw if not."""
    if len(text) > LONGEST_URL:
        raise Flaw(f"is a URL of {len(text):,} characters; at most {LONGEST_URL:,} are allowed")
    found = None if UNSAFE.search(text) else URL.fullmatch(text)
    if found is None:
        raise Flaw(f"is a URL with a space or a control character in it: {shown(text)}")
    if text.endswith(BEHIND):
        raise Flaw(f"is a URL with {text[-1]} after it: {shown(text)}; write the URL alone")
    authority = found["authority"]
    if "@" in authority:
        raise Flaw(f"is a URL with a user name or password, which would be stored and sent to the API: {shown(text)}")
    if not authority or authority.startswith(":"):
        raise Flaw(f"is a URL without a host: {shown(text)}")
    host = AUTHORITY.fullmatch(authority)
    if host is None or int(host["port"] or 1) not in range(1, 65536):
        raise Flaw(f"is a URL with a malformed host or port: {shown(text)}")
    return text


def checked_path(text: str) -> str:
    """Return the path without "./". Raise Flaw."""
    if found := UNSAFE.search(text):
        raise Flaw(f"has a control or invisible character (U+{ord(found[0]):04X}) in {shown(text)}")
    if len(text) > LONGEST_PATH:
        if BASE64.fullmatch(text):
            raise Flaw("looks like Base64; give an http(s) URL, or a file to upload")
        raise Flaw(f"has {len(text):,} characters, which is too long for a path")
    return str(PurePosixPath(text))


def check_file(folder: str, path: str, text: str) -> None:
    """Raise Flaw unless `path` is a regular, readable, non-empty file. Raise FileNotFoundError if it does not exist.

    `text` is the path as written.
    """
    whole = os.path.join(folder, path)  # noqa: PTH118 - called for every row; Path is ten times slower
    try:
        found = os.stat(whole)  # noqa: PTH116
    except FileNotFoundError:
        raise
    except NotADirectoryError:
        raise FileNotFoundError from None
    except OSError as error:
        raise Flaw(f"cannot be read: {shown(text)} ({error.strerror})") from None
    except UnicodeEncodeError as error:
        raise Flaw(f"has letters that {error.encoding} file names do not: {shown(text)}; {USE_UTF8}") from None
    if stat.S_ISDIR(found.st_mode):
        raise Flaw(f"is a folder, not a file: {shown(text)}")
    if not stat.S_ISREG(found.st_mode):
        raise Flaw(f"is a device, pipe or socket, not a file: {shown(text)}")
    if found.st_size == 0:
        raise Flaw(f"is an empty file: {shown(text)}")
    if not os.access(whole, os.R_OK):
        raise Flaw(f"cannot be read: {shown(text)} (Permission denied)")
