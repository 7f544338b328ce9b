"""The folder with the signing keys: `chain.pem` (leaf first), `key.pem`, and `root.pem`, which a verifier has to trust.

`create` makes them for use in-house. The root's own key is never stored: it signs one certificate.
"""

import os
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from batchswap.downloads.filesystem import rename_to_free_name
from batchswap.errors import UsageError
from batchswap.provenance import load
from batchswap.provenance.new_file import sync_folder
from batchswap.state_folder import make_private

CHAIN, KEY, ROOT = "chain.pem", "key.pem", "root.pem"
YEARS = 5
"""Years after which the certificates expire. Without a time stamp, signatures expire with them."""
_MADE_EARLIER = timedelta(hours=1)
"""A verifier whose clock is behind accepts the certificate."""


class SigningKeys(msgspec.Struct, frozen=True):
    """A certificate chain and its key in PEM, with the name of the algorithm. `root` is "" if there is no root.pem."""

    chain: str
    key: str
    algorithm: str
    root: str = ""


def create(folder: Path, name: str) -> None:
    """Make a root, a certificate for signing and its key. Raise UsageError if any of the files exists.

    All are complete before the first one gets its name, and the key is the last: after a kill, the next call makes new
    keys.
    """
    x509, ec = load("cryptography.x509"), load("cryptography.hazmat.primitives.asymmetric.ec")
    make_private(folder)
    _remove_interrupted(folder)
    for each in (ROOT, CHAIN, KEY):
        if os.path.lexists(folder / each):
            raise UsageError(f"{folder / each} exists, and no key is ever overwritten: name another folder")
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, subject = _name(x509, name, f"{name} root"), _name(x509, name, name)
    root = _certificate(x509, issuer, issuer, root_key.public_key(), root_key, is_root=True)
    leaf = _certificate(x509, subject, issuer, key.public_key(), root_key, is_root=False)
    coding = load("cryptography.hazmat.primitives.serialization")
    private = key.private_bytes(coding.Encoding.PEM, coding.PrivateFormat.PKCS8, coding.NoEncryption())
    root_pem, leaf_pem = (each.public_bytes(coding.Encoding.PEM) for each in (root, leaf))
    for file, content, mode in ((ROOT, root_pem, 0o644), (CHAIN, leaf_pem + root_pem, 0o644), (KEY, private, 0o600)):
        _write(_unfinished(folder, file), content, mode)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for file in (ROOT, CHAIN, KEY):
            rename_to_free_name(handle, _unfinished(folder, file).name, file)
    finally:
        os.close(handle)
    sync_folder(folder)


def _unfinished(folder: Path, file: str) -> Path:
    return folder / f".{file}.new"


def _remove_interrupted(folder: Path) -> None:
    """Remove the files of a call that was killed before it had made the key.

    The new key is the last file that it writes. So if there is one, certificates that are no longer among the new files
    are those of that call.
    """
    left = [file for file in (ROOT, CHAIN, KEY) if os.path.lexists(_unfinished(folder, file))]
    if KEY in left and not os.path.lexists(folder / KEY):
        for file in {ROOT, CHAIN}.difference(left):
            (folder / file).unlink(missing_ok=True)
    for file in left:  # the key is the last one
        _unfinished(folder, file).unlink()


def _name(x509: Any, organization: str, common: str) -> Any:
    pairs = ((x509.NameOID.ORGANIZATION_NAME, organization), (x509.NameOID.COMMON_NAME, common))
    try:
        return x509.Name([x509.NameAttribute(oid, text) for oid, text in pairs])
    except ValueError as error:
        raise UsageError(f"--name: a certificate cannot have this name: {error}") from None


def _certificate(x509: Any, subject: Any, issuer: Any, public: Any, signer: Any, *, is_root: bool) -> Any:
    """Return a certificate with the profile of C2PA (specification, "Certificate profiles")."""
    now = datetime.now(UTC).replace(microsecond=0)
    usage = {
        "content_commitment": False,
        **dict.fromkeys(("key_encipherment", "data_encipherment", "key_agreement"), False),
        **dict.fromkeys(("encipher_only", "decipher_only"), False),
    }
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _MADE_EARLIER)
        .not_valid_after(now + timedelta(days=365 * YEARS + 1))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not is_root:
        made = made.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return made.sign(signer, load("cryptography.hazmat.primitives.hashes").SHA256())


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def load_keys(folder: Path) -> SigningKeys:
    """Return the keys of a folder. They are read once. Raise UsageError."""
    return _load(folder, tuple(_modified(folder / each) for each in (CHAIN, KEY, ROOT)))


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@cache
def _load(folder: Path, _: tuple[int, ...]) -> SigningKeys:
    chain, key = _read(folder, CHAIN), _read(folder, KEY)
    root = _read(folder, ROOT) if (folder / ROOT).exists() else b""
    private = _private(folder / KEY, key)
    coding = load("cryptography.hazmat.primitives.serialization")
    plain = private.private_bytes(coding.Encoding.PEM, coding.PrivateFormat.PKCS8, coding.NoEncryption())
    return SigningKeys(_text(folder / CHAIN, chain), plain.decode(), _algorithm(private), _text(folder / ROOT, root))


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        made = (
            f"`batchswap sign init {folder}` makes keys" if not folder.exists() else "see `batchswap guide provenance`"
        )
        raise UsageError(f"{folder / name} does not exist: {made}") from None
    except OSError as error:
        raise UsageError(f"{folder / name} cannot be read: {error.strerror}") from None


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a PEM file: convert it with `openssl x509 -inform der`") from None


def _private(path: Path, content: bytes) -> Any:
    coding = load("cryptography.hazmat.primitives.serialization")
    try:
        return coding.load_pem_private_key(content, None)
    except TypeError:
        raise UsageError(f"{path} is encrypted: decrypt it with `openssl pkey -in {path.name} -out …`") from None
    except ValueError:
        raise UsageError(f"{path} has no private key in PEM") from None


def _algorithm(private: Any) -> str:
    """Return the algorithm of C2PA for a key. Raise UsageError if there is none."""
    algorithms = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if type(private).__name__.startswith("Ed25519"):
        return "ed25519"
    curve = getattr(getattr(private, "curve", None), "name", "")
    if curve in algorithms:
        return algorithms[curve]
    if hasattr(private, "private_numbers") and hasattr(private, "decrypt"):
        return "ps256"
    raise UsageError(f"{KEY} has a kind of key that C2PA does not accept: use ECDSA P-256, Ed25519 or RSA")


def open_signer(keys: SigningKeys, timestamp_url: str = "") -> Any:
    """Return a signer of c2pa. Raise UsageError if c2pa does not accept the keys."""
    c2pa = load("c2pa")
    texts = (keys.algorithm, keys.chain, keys.key, timestamp_url)
    try:
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(*(text.encode() or None for text in texts)))
    except c2pa.C2paError as error:
        raise UsageError(f"c2pa does not accept the keys: {' '.join(str(error).split())[:200]}") from None
