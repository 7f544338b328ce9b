"""Keys are made once and never overwritten; what is wrong with a folder of keys is reported in words, before a run."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from batchswap.errors import ProvenanceError, UsageError
from batchswap.provenance import keys
from batchswap.provenance.key_checks import check_keys
from batchswap.provenance.verification import USAGES, SignatureState, verify
from tests.provenance.conftest import signed
from tests.waits import wait_until

DAY = 86400.0
NAMES = ["root.pem", "chain.pem", "key.pem"]


@pytest.fixture
def folder(signing: Path, tmp_path: Path) -> Path:
    """Return a copy of the keys, to be damaged."""
    return Path(shutil.copytree(signing, tmp_path / "keys"))


def test_new_keys_are_sound_and_only_this_user_can_read_the_key(signing: Path) -> None:
    found = check_keys(signing)
    assert (found.problems, found.remarks, found.subject) == ((), (), "CN=Example Ltd,O=Example Ltd")
    assert (signing / "key.pem").stat().st_mode & 0o777 == 0o600
    assert found.expires_at is not None
    assert 5 * 365 * DAY < found.expires_at - time.time() < 5 * 366 * DAY
    assert b"PRIVATE KEY" not in (signing / "chain.pem").read_bytes() + (signing / "root.pem").read_bytes()
    assert (signing / "key.pem").read_bytes().count(b"BEGIN") == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_file_is_overwritten(folder: Path, name: str) -> None:
    for other in {*NAMES} - {name}:
        (folder / other).unlink()
    content = (folder / name).read_bytes()
    with pytest.raises(UsageError, match=f"{name} exists, and no key is ever overwritten"):
        keys.create(folder, "Other")
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_bytes() == content


VICTIM = """
import os, signal, sys
from pathlib import Path
from batchswap.provenance import keys
steps = int(sys.argv[1])

def step():
    global steps
    steps -= 1
    if steps < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(function):
    def call(*arguments):
        step()
        return function(*arguments)
    return call

keys._write, keys.rename_to_free_name = watched(keys._write), watched(keys.rename_to_free_name)
sys.addaudithook(lambda event, _: step() if event == "os.remove" else None)
keys.create(Path("keys"), "killed")
"""


def _kill_after(steps: int, folder: Path) -> int:
    return subprocess.run([sys.executable, "-c", VICTIM, str(steps)], cwd=folder, check=False).returncode


def test_keys_whose_making_was_killed_are_made_again(tmp_path: Path) -> None:
    """A second call is killed, too, while it removes what the first one has left."""
    for steps, again in ((0, 0), (1, 1), (2, 2), (3, 1), (3, 3), (4, 0), (4, 1), (4, 2), (5, 1), (5, 2), (5, 3)):
        folder = tmp_path / f"{steps}-{again}"
        (folder / "keys").mkdir(parents=True)
        (folder / "keys" / "notes.txt").write_text("mine")
        assert _kill_after(steps, folder) == -signal.SIGKILL
        assert not (folder / "keys" / "key.pem").exists()
        assert _kill_after(again, folder) == -signal.SIGKILL
        keys.create(folder / "keys", "Example Ltd")
        found = check_keys(folder / "keys")
        assert (found.problems, found.subject) == ((), "CN=Example Ltd,O=Example Ltd")
        assert {path.name for path in (folder / "keys").iterdir()} == {*NAMES, "notes.txt"}
    (tmp_path / "done").mkdir()
    assert _kill_after(6, tmp_path / "done") == 0


def test_certificates_of_ones_own_are_no_left_files(folder: Path) -> None:
    (folder / "key.pem").rename(folder / "elsewhere.pem")
    (folder / ".root.pem.new").write_text("killed before the key")
    with pytest.raises(UsageError, match="exists, and no key is ever overwritten"):
        keys.create(folder, "Other")
    assert {path.name for path in folder.iterdir()} == {"root.pem", "chain.pem", "elsewhere.pem"}


@pytest.mark.parametrize(
    ("after", "problem", "remark"),
    [
        (365 * 5 * DAY - 29 * DAY, "", "expires in 29 days"),
        (365 * 5 * DAY - 31 * DAY, "", ""),
        (365 * 5 * DAY + 0.5 * DAY, "", "expires today"),
        (365 * 5 * DAY + 2 * DAY, "expired at", ""),
        (-2 * DAY, "is valid from", ""),
    ],
)
def test_the_time_is_checked(folder: Path, after: float, problem: str, remark: str) -> None:
    found = check_keys(folder, time.time() + after)
    assert ((problem in "".join(found.problems)), bool(found.problems)) == (True, bool(problem))
    assert ((remark in "".join(found.remarks)), bool(found.remarks)) == (True, bool(remark))


def test_a_key_that_others_can_read_is_a_remark(folder: Path) -> None:
    (folder / "key.pem").chmod(0o640)
    assert check_keys(folder).remarks == (
        f"{folder / 'key.pem'} can be read by others: chmod 600 {folder / 'key.pem'}",
    )


def _swap_key(folder: Path) -> None:
    keys.create(folder / "other", "Other")
    shutil.copy(folder / "other" / "key.pem", folder / "key.pem")


def _root_first(folder: Path) -> None:
    leaf, root = (folder / "chain.pem").read_text().split("-----END CERTIFICATE-----\n")[:2]
    end = "-----END CERTIFICATE-----\n"
    (folder / "chain.pem").write_text(root + end + leaf + end)


def _foreign_issuer(folder: Path) -> None:
    keys.create(folder / "other", "Other")
    leaf = (folder / "chain.pem").read_text().split("-----END CERTIFICATE-----\n")[0]
    (folder / "chain.pem").write_text(f"{leaf}-----END CERTIFICATE-----\n{(folder / 'other/root.pem').read_text()}")


def _foreign_root(folder: Path) -> None:
    keys.create(folder / "other", "Other")
    shutil.copy(folder / "other" / "root.pem", folder / "root.pem")


def _encrypt(folder: Path) -> None:
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"word")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    (folder / "key.pem").write_bytes(pem)


def _as_der(folder: Path) -> None:
    found = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
    (folder / "chain.pem").write_bytes(found.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_swap_key, "chain.pem: they are from different pairs"),
        (_foreign_issuer, "each certificate must be followed by its issuer; one is not"),
        (_foreign_root, "root.pem did not issue the certificates"),
        (_encrypt, "is encrypted: decrypt it with `openssl pkey"),
        (_as_der, "is not a PEM file: convert it with `openssl x509 -inform der`"),
        (lambda folder: (folder / "key.pem").write_text("x"), "has no private key in PEM"),
        (lambda folder: (folder / "chain.pem").write_text("x"), "must be certificates in PEM"),
        (lambda folder: (folder / "chain.pem").unlink(), "chain.pem does not exist"),
        (_root_first, "chain.pem: put the signing certificate first"),
    ],
)
def test_wrong_files_are_named(folder: Path, damage: Callable[[Path], Any], problem: str) -> None:
    damage(folder)
    found = check_keys(folder)
    assert problem in found.problems[0]
    assert str(folder) in found.problems[0]


def test_a_missing_folder_gets_the_command_that_makes_it(tmp_path: Path) -> None:
    assert check_keys(tmp_path / "no").problems == (
        f"{tmp_path}/no/chain.pem does not exist: `batchswap sign init {tmp_path}/no` makes keys",
    )


def bring(folder: Path, key: Any, *, usage: x509.ObjectIdentifier | None, signs: bool = True, ends: float = 30) -> None:
    """Write keys that another authority has made. There is no root.pem, and the key is in another encoding."""
    authority = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Brought")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority")]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=ends))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs,
                key_encipherment=not signs,
                content_commitment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if usage is not None:
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    folder.mkdir()
    certificate = made.sign(authority, hashes.SHA256())
    (folder / "chain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    old = serialization.PrivateFormat.PKCS8 if isinstance(key, ed25519.Ed25519PrivateKey) else None
    form = old or serialization.PrivateFormat.TraditionalOpenSSL
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    (folder / "key.pem").chmod(0o600)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA"],
)
def test_a_certificate_of_ones_own_is_used(tmp_path: Path, media: Path, key: Any) -> None:
    bring(tmp_path / "own", key, usage=x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"), ends=60)
    assert check_keys(tmp_path / "own").problems == ()
    made = signed(media / "still.png", tmp_path / "own")
    found = verify(made.path)
    assert (found.state, found.signer) == (SignatureState.VALID, "Brought")


@pytest.mark.parametrize("usage", USAGES)
def test_every_usage_that_c2pa_knows_is_accepted(tmp_path: Path, media: Path, usage: str) -> None:
    bring(tmp_path / "own", ec.generate_private_key(ec.SECP256R1()), usage=x509.ObjectIdentifier(usage), ends=60)
    assert check_keys(tmp_path / "own").problems == ()
    assert verify(signed(media / "still.png", tmp_path / "own").path).state is SignatureState.VALID


def test_a_certificate_for_something_else_is_a_problem(tmp_path: Path) -> None:
    bring(tmp_path / "own", ec.generate_private_key(ec.SECP256R1()), usage=ExtendedKeyUsageOID.SERVER_AUTH)
    bring(tmp_path / "none", ec.generate_private_key(ec.SECP256R1()), usage=None, signs=False)
    [problem] = check_keys(tmp_path / "own").problems
    assert problem.startswith(f"{tmp_path}/own/chain.pem: the certificate is neither for e-mail protection nor for doc")
    assert "not for digital signatures" in check_keys(tmp_path / "none").problems[0]


def test_a_kind_of_key_that_c2pa_does_not_accept_is_a_problem(tmp_path: Path) -> None:
    usage = ExtendedKeyUsageOID.EMAIL_PROTECTION
    bring(tmp_path / "own", ec.generate_private_key(ec.SECP256K1()), usage=usage)
    assert "a kind of key that C2PA does not accept" in check_keys(tmp_path / "own").problems[0]
    bring(tmp_path / "weak", rsa.generate_private_key(65537, 1024), usage=usage)
    assert "c2pa cannot sign with the keys" in check_keys(tmp_path / "weak").problems[0]


def test_an_expired_certificate_signs_nothing(tmp_path: Path, media: Path) -> None:
    usage = ExtendedKeyUsageOID.EMAIL_PROTECTION
    bring(tmp_path / "own", ec.generate_private_key(ec.SECP256R1()), usage=usage, ends=-1)
    assert "expired at" in check_keys(tmp_path / "own").problems[0]
    with pytest.raises(ProvenanceError, match="the certificate was not valid at time of signing"):
        signed(media / "still.png", tmp_path / "own")
    assert [path.name for path in media.glob("signed-*")] == []


def test_a_signature_whose_certificate_expires_later_is_no_damage(tmp_path: Path, media: Path) -> None:
    usage = ExtendedKeyUsageOID.EMAIL_PROTECTION
    bring(tmp_path / "own", ec.generate_private_key(ec.SECP256R1()), usage=usage, ends=3 / DAY)
    made = signed(media / "still.png", tmp_path / "own")
    wait_until(lambda: "signingCredential.expired" in verify(made.path).codes, "the certificate expires", pause=0.2)
    assert verify(made.path).state is SignatureState.VALID
