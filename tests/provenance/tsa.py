"""A time-stamp server (RFC 3161) on the loopback interface, with a certificate of its own, that can fail on purpose."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class StampServer:
    """Answers queries. `fail` has the faults of the next answers: an HTTP code, or "hang" or "garbage"."""

    def __init__(self) -> None:
        self.queries = 0
        self.fail: list[int | str] = []
        self._is_over = threading.Event()
        root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = certificate("stamp root", "stamp root", root_key, root_key, is_root=True)
        leaf = certificate("stamps", "stamp root", self._key, root_key, is_root=False)
        self._chain = [
            asn1_x509.Certificate.load(each.public_bytes(serialization.Encoding.DER)) for each in (leaf, root)
        ]
        self.root = root.public_bytes(serialization.Encoding.PEM).decode()

    def answer(self, query: bytes) -> bytes:
        """Return the time-stamp response for a query."""
        asked = tsp.TimeStampReq.load(query)
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": "1.3.6.1.4.1.4146.2.3",
                "message_imprint": asked["message_imprint"],
                "serial_number": self.queries,
                "gen_time": datetime.now(UTC).replace(microsecond=0),
                **({"nonce": asked["nonce"]} if asked["nonce"].native is not None else {}),
            }
        )
        content = info.dump()
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
                cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content).digest()]}),
                cms.CMSAttribute(
                    {
                        "type": "signing_certificate_v2",
                        "values": [{"certs": [{"cert_hash": hashlib.sha256(self._chain[0].dump()).digest()}]}],
                    }
                ),
            ]
        )
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.IssuerAndSerialNumber(
                    {"issuer": self._chain[0].issuer, "serial_number": self._chain[0].serial_number}
                ),
                "digest_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
                "signed_attrs": attributes,
                "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
                "signature": self._key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256())),
            }
        )
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [algos.DigestAlgorithm({"algorithm": "sha256"})],
                "encap_content_info": {
                    "content_type": "tst_info",
                    "content": core.ParsableOctetString(content),
                },
                "certificates": self._chain,
                "signer_infos": [signer],
            }
        )
        token = cms.ContentInfo({"content_type": "signed_data", "content": signed})
        found: bytes = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()
        return found

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request, or fail as it was planned."""
        query = request.rfile.read(int(request.headers["Content-Length"]))
        self.queries += 1
        fault = self.fail.pop(0) if self.fail else ""
        if fault == "hang":
            self._is_over.wait(20)
        elif isinstance(fault, int):
            request.send_error(fault)
        else:
            body = b"garbage" if fault == "garbage" else self.answer(query)
            request.send_response(200)
            request.send_header("Content-Type", "application/timestamp-reply")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)

    def end(self) -> None:
        """Let hanging answers end."""
        self._is_over.set()


def certificate(name: str, issuer: str, key: Any, signer: Any, *, is_root: bool) -> x509.Certificate:
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_root,
                key_cert_sign=is_root,
                crl_sign=is_root,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if not is_root:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return made.sign(signer, hashes.SHA256())


@contextmanager
def stamp_server() -> Iterator[tuple[str, StampServer]]:
    """Run a server, and yield its URL and itself."""
    stamps = StampServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            stamps.handle(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/?key=secret", stamps
    finally:
        stamps.end()
        server.shutdown()
        thread.join()
        server.server_close()
