"""Check certificates before the night, in words: the chain, the key, the usage, the time, and a trial with c2pa."""

import io
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from batchswap.errors import UsageError
from batchswap.provenance import load
from batchswap.provenance.keys import CHAIN, KEY, ROOT, SigningKeys, load_keys, open_signer
from batchswap.provenance.manifest import moment
from batchswap.provenance.verification import USAGES, reading

_BROUGHT = "see `batchswap guide provenance`"
SOON = 30 * 86400.0
"""Seconds before the expiry of a certificate from which it is reported."""


class KeysCheck(msgspec.Struct, frozen=True):
    """The findings about a folder of keys. Nothing can be signed with `problems`; `remarks` should be read."""

    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    subject: str = ""
    expires_at: float | None = None


def check_keys(folder: Path, now: float | None = None) -> KeysCheck:
    """Check the keys of a folder: files, permissions, chain, usage, time, and whether c2pa signs with them.

    `doctor` shows all findings. A run with problems must not start. Raise MissingExtra.
    """
    try:
        keys = load_keys(folder)
        mode = stat.S_IMODE((folder / KEY).stat().st_mode)
    except UsageError as error:
        return KeysCheck((str(error),))
    found = _check(keys, folder, time.time() if now is None else now)
    if mode & 0o077:
        remark = f"{folder / KEY} can be read by others: chmod 600 {folder / KEY}"
        found = msgspec.structs.replace(found, remarks=(*found.remarks, remark))
    return found


def check_root(path: Path) -> None:
    """Raise UsageError unless the file has certificates in PEM: c2pa would take every signature for damaged."""
    try:
        load("cryptography.x509").load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise UsageError(f"--root: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"--root: {path} has no certificate in PEM: name the root.pem of the signer") from None


def _check(keys: SigningKeys, folder: Path, now: float) -> KeysCheck:
    x509 = load("cryptography.x509")
    try:
        chain = x509.load_pem_x509_certificates(keys.chain.encode())
        root = x509.load_pem_x509_certificate(keys.root.encode()) if keys.root else None
    except ValueError:
        return KeysCheck((f"{folder}: {CHAIN} and {ROOT} must be certificates in PEM",))
    leaf = chain[0]
    problems = [*_mismatches(keys, folder, chain, root), *_unusable(x509, folder, leaf), *_untimely(folder, leaf, now)]
    if not problems:
        problems = list(_try_out(keys, folder))
    ends = leaf.not_valid_after_utc.timestamp()
    remarks = []
    if not problems and ends - now < SOON:
        days = max(0, int((ends - now) // 86400))
        left = "today" if days == 0 else f"in {days} day{'s' * (days != 1)}"
        remarks.append(f"the certificate {folder / CHAIN} expires {left} ({moment(ends)}): renew it, {_BROUGHT}")
    return KeysCheck(tuple(problems), tuple(remarks), leaf.subject.rfc4514_string(), ends)


def _mismatches(keys: SigningKeys, folder: Path, chain: list[Any], root: Any) -> Iterator[str]:
    """Yield why the files do not belong together."""
    coding = load("cryptography.hazmat.primitives.serialization")

    def spki(key: Any) -> bytes:
        found: bytes = key.public_bytes(coding.Encoding.DER, coding.PublicFormat.SubjectPublicKeyInfo)
        return found

    own = spki(coding.load_pem_private_key(keys.key.encode(), None).public_key())
    if own != spki(chain[0].public_key()):
        others = any(own == spki(each.public_key()) for each in chain[1:])
        words = "put the signing certificate first" if others else "they are from different pairs"
        yield f"{folder / KEY} does not fit the first certificate in {folder / CHAIN}: {words}"
    for lower, upper in pairwise(chain):
        if not _is_issued_by(lower, upper):
            yield f"{folder / CHAIN}: each certificate must be followed by its issuer; one is not"
            break
    last = chain[-1]
    if root is not None and last != root and not _is_issued_by(last, root):
        yield f"{folder / ROOT} did not issue the certificates in {folder / CHAIN}"


def _is_issued_by(lower: Any, upper: Any) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, load("cryptography.exceptions").InvalidSignature):
        return False
    return True


def _unusable(x509: Any, folder: Path, leaf: Any) -> Iterator[str]:
    """Yield why C2PA does not accept the certificate."""
    place = folder / CHAIN

    def extension(kind: Any) -> Any:
        try:
            return leaf.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    basic, usage, purposes = (extension(each) for each in (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage))
    if (basic is not None and basic.ca) or leaf.subject == leaf.issuer:
        yield f"{place}: the first certificate is an authority or self-signed; C2PA needs one that another has issued"
        return
    if usage is None or not usage.digital_signature:
        yield f"{place}: the certificate is not for digital signatures (key usage)"
    if purposes is None or not any(each.dotted_string in USAGES for each in purposes):
        yield f"{place}: the certificate is neither for e-mail protection nor for documents (extended key usage)"
    if extension(x509.AuthorityKeyIdentifier) is None:
        yield f"{place}: the certificate does not name its issuer's key (authority key identifier)"


def _untimely(folder: Path, leaf: Any, now: float) -> Iterator[str]:
    begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if now > ends:
        yield f"the certificate {folder / CHAIN} expired at {moment(ends)}: renew it, {_BROUGHT}"
    if now < begins:
        yield f"the certificate {folder / CHAIN} is valid from {moment(begins)}, and the clock shows {moment(now)}"


def _try_out(keys: SigningKeys, folder: Path) -> Iterator[str]:
    """Yield why c2pa does not sign a small picture with these keys."""
    c2pa = load("c2pa")
    try:
        with open_signer(keys) as signer, reading(c2pa, "") as context:
            actions = [{"action": "c2pa.created", "digitalSourceType": "http://c2pa.org/digitalsourcetype/empty"}]
            made = {"assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}]}
            c2pa.Builder(made, context=context).sign(signer, "image/png", io.BytesIO(_picture()), io.BytesIO())
    except (c2pa.C2paError, UsageError) as error:
        yield f"c2pa cannot sign with the keys in {folder}: {' '.join(str(error).split())[:200]}"


def _picture() -> bytes:
    """Return a PNG with one pixel."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
