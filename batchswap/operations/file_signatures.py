"""The signatures of files: what they show, next to what the ledger knows. Blocks; safe in threads."""

from pathlib import Path

from batchswap import provenance
from batchswap.ledger.signatures import SignedResult
from batchswap.provenance.key_checks import check_root
from batchswap.provenance.verification import Provenance, SignatureState, verify


class SignatureReader:
    """Reads signatures, with the certificate `root` as a trusted one. Without the extra, it reads nothing.

    Raise UsageError for a root that is no certificate, and MissingExtra if there is one.
    """

    def __init__(self, root: Path | None) -> None:
        if root is not None:
            check_root(root)
        self._root = root
        self.is_usable = provenance.is_installed()

    def read(self, path: str) -> Provenance | None:
        """Return what a file shows; None if it cannot be read."""
        if not self.is_usable:
            return None
        try:
            return verify(Path(path), self._root)
        except OSError:
            return None


def problem_of(found: Provenance, known: SignedResult | None, consent: str) -> str:
    """Return what is wrong with the signature of a result that has the content of the ledger; "" for nothing.

    A manifest that came with the result is not judged: the file is as it was received.
    """
    if known is None or not known.is_signed:
        return ""
    if not found.is_intact:
        return f"has no intact signature ({shown(found)})"
    if found.task is None or found.task.received_sha256 != known.received:
        return "is signed for another result"
    if found.consent != consent:
        return f"is signed for the release {found.consent or 'none'}, and its row names {consent or 'none'}"
    return ""


def shown(found: Provenance) -> str:
    """Return the signature of a file in words."""
    match found.state:
        case SignatureState.NONE:
            return "not signed"
        case SignatureState.DAMAGED:
            return f"changed after it was signed: {', '.join(found.damage[:3]) or found.problem or 'unknown'}"
        case _:
            signer = f" by {found.signer}" if found.signer else ""
            trust = "trusted" if found.state is SignatureState.TRUSTED else "unknown signer"
            task = f", {found.task.batch}/{found.task.key}" if found.task else ""
            consent = f", release {found.consent}" if found.consent else ""
            return f"intact signature{signer} ({trust}){task}{consent}"
