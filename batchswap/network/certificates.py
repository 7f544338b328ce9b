"""Certificates: why one is refused, in words, and whether the files that the user names can be read."""

import os
import re
import ssl
from pathlib import Path

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
"""OpenSSL's variables for the certificates that are trusted. It ignores a file that does not exist."""
_EXPIRED, _EARLY, _SELF_SIGNED, _NAMES = 10, 9, 18, (62, 63, 64)
_UNKNOWN = (19, 20, 21)
"""Codes of `X509_V_ERR`, in openssl/x509_vfy.h."""


def refused_certificate(error: BaseException) -> BaseException | None:
    """Return the error of the check of a certificate, which aiohttp wraps; None for any other error."""
    found = getattr(error, "certificate_error", error)
    return found if isinstance(found, ssl.SSLCertVerificationError) else None


def certificate_words(error: BaseException, host: str) -> str:
    """Return the problem with a host's certificate, and the remedy."""
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    whose = f"the certificate of {host}"
    if code == _EXPIRED:
        return f"{whose} has expired: check this machine's clock; if it is right, the operator must renew it"
    if code == _EARLY:
        return f"{whose} is not valid yet: check this machine's clock"
    if code in _NAMES:
        return f"{whose} is for another name: check the address; something in between may answer in its place"
    if code == _SELF_SIGNED:
        return f"{whose} is not trusted, because it is self-signed: {_remedy('this certificate')}"
    if code in _UNKNOWN:
        return f"{whose} is not trusted, because this machine does not know who issued it: {_remedy('its root')}"
    return f"{whose} is not trusted"


def _remedy(wanted: str) -> str:
    now = f" (it is {given} now)" if (given := os.environ.get(FILE)) else ""
    return f"if it is your company's, or a proxy inspects TLS, set {FILE} to a PEM file with {wanted}{now}"


def problem_of_files() -> str:
    """Return the problem with the files of SSL_CERT_FILE and SSL_CERT_DIR; "" if there is none."""
    if path := os.environ.get(FILE):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except ssl.SSLError:
            return f"{FILE} is {path}, which has no certificates in PEM: name another file, or unset {FILE}"
        except OSError as error:
            return f"{FILE} is {path}, which cannot be read ({error.strerror}): name another file, or unset {FILE}"
    folders = [Path(each) for each in os.environ.get(FOLDER, "").split(os.pathsep) if each]
    if folders and not any(_has_certificates(each) for each in folders):
        names = os.pathsep.join(map(str, folders))
        return f"{FOLDER} is {names}, where no certificate has a name that OpenSSL finds: run `openssl rehash` there"
    return ""


def _has_certificates(folder: Path) -> bool:
    """Return whether a file there is named by the hash of its certificate."""
    try:
        return any(re.fullmatch(r"[0-9a-f]{8}\.[0-9]+", each.name) for each in folder.iterdir())
    except OSError:
        return False
