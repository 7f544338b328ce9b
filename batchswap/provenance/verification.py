"""Verify the provenance of a file by the codes of C2PA (specification, "Validation status codes").

A signer that is unknown here, an expired certificate and an untrusted time stamp do not mean that the file was changed.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from batchswap.errors import ProvenanceError
from batchswap.provenance import labels, load
from batchswap.provenance.manifest import ASSERTION, TaskAssertion

_NO_DAMAGE = frozenset(
    {
        "signingCredential.untrusted",
        "signingCredential.expired",
        "signingCredential.ocsp.inaccessible",
        "signingCredential.ocsp.unknown",
        "signingCredential.ocsp.skipped",
        "timeStamp.untrusted",
        "timeStamp.outsideValidity",
        "timeStamp.unknown",
    }
)
"""Failures that concern the trust in the signer or the time, and not the content of the file."""
USAGES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.311.76.59.1.9", "1.3.6.1.4.1.62558.2.1")
"""Extended key usages of a signer: e-mail protection, document signing, and two for C2PA itself.

By default c2pa accepts only the first.
"""
_FOR_STAMPS = ("1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.9")
SETTINGS: dict[str, Any] = {
    "verify": {"remote_manifest_fetch": False, "verify_after_sign": False},
    "core": {"decode_identity_assertions": False, "backing_store_memory_threshold_in_mb": 32},
    "trust": {"trust_config": "\n".join((*USAGES, *_FOR_STAMPS))},
}
"""Settings of c2pa: no network, and at most 32 MB of a file in memory. A larger one becomes a temporary file."""


class SignatureState(StrEnum):
    """NONE: no manifest. VALID: the file is as it was signed. TRUSTED: also, the signer is trusted here.

    DAMAGED: the file or its manifest was changed after it was signed.
    """

    NONE = "none"
    VALID = "valid"
    TRUSTED = "trusted"
    DAMAGED = "damaged"


class Provenance(msgspec.Struct, frozen=True):
    """The provenance of one file. `codes` are the failures of its manifest. `is_labelled` is None if it is unknown."""

    state: SignatureState
    codes: tuple[str, ...] = ()
    is_labelled: bool | None = None
    task: TaskAssertion | None = None
    signer: str = ""
    stamped_at: str = ""
    """The time of a time stamp; "" without one."""
    problem: str = ""
    """Why the file could not be read completely."""

    @property
    def consent(self) -> str:
        """Return the reference of the release, "" if there is none."""
        return self.task.consent if self.task else ""

    @property
    def damage(self) -> tuple[str, ...]:
        """Return the codes that mean a change of the file."""
        return tuple(code for code in self.codes if code not in _NO_DAMAGE)

    @property
    def is_intact(self) -> bool:
        return self.state in (SignatureState.VALID, SignatureState.TRUSTED)


def verify(path: Path, root: Path | None = None) -> Provenance:
    """Return the provenance of a file. `root` is a certificate to trust, besides those that c2pa trusts.

    Raise OSError if the file cannot be read, and MissingExtra.
    """
    format_, is_labelled, problem = "", None, None
    with path.open("rb") as file:
        try:
            format_ = labels.media_type(file)
            is_labelled = labels.is_labelled(file, format_)
        except ProvenanceError as error:
            problem = error
        file.seek(0)
        found = read_manifest(file, format_, root.read_text() if root else "")
    if problem is None:
        return msgspec.structs.replace(found, is_labelled=is_labelled)
    is_damaged = problem.culprit != labels.FORMAT
    state = SignatureState.DAMAGED if is_damaged else found.state
    return msgspec.structs.replace(found, state=state, problem=str(problem))


def read_manifest(file: Any, format_: str, anchor: str = "") -> Provenance:
    """Return the provenance of an open file, without its label. `anchor` is a certificate to trust, in PEM."""
    c2pa = load("c2pa")
    try:
        with reading(c2pa, anchor) as context:
            reader = c2pa.Reader.try_create(format_ or None, file, context=context)
            if reader is None:
                return Provenance(SignatureState.NONE)
            with reader:
                return _judge(json.loads(reader.json()))
    except c2pa.C2paError as error:
        kind = str(error).partition(":")[0]
        if kind in ("NotSupported", "ManifestNotFound"):
            return Provenance(SignatureState.NONE, problem="c2pa cannot read this format")
        return Provenance(SignatureState.DAMAGED, problem=" ".join(str(error).split())[:300])


def reading(c2pa: Any, anchor: str) -> Any:
    """Return a context of c2pa. `anchor` is a certificate to trust."""
    trust = SETTINGS["trust"] | ({"user_anchors": anchor} if anchor else {})
    return c2pa.Context.from_dict(SETTINGS | {"trust": trust})


def _judge(document: dict[str, Any]) -> Provenance:
    active = document.get("manifests", {}).get(document.get("active_manifest"))
    if active is None:
        return Provenance(SignatureState.DAMAGED, problem="its active manifest is missing")
    results = document.get("validation_results", {}).get("activeManifest", {})
    codes = tuple(dict.fromkeys(each["code"] for each in results.get("failure", [])))
    if any(code not in _NO_DAMAGE for code in codes):
        state = SignatureState.DAMAGED
    elif document.get("validation_state") == "Trusted":
        state = SignatureState.TRUSTED
    else:
        state = SignatureState.VALID
    signature = active.get("signature_info", {})
    return Provenance(
        state,
        codes,
        task=_find_task(active),
        signer=signature.get("common_name") or signature.get("issuer") or "",
        stamped_at=signature.get("time") or "",
    )


def _find_task(manifest: dict[str, Any]) -> TaskAssertion | None:
    for each in manifest.get("assertions", []):
        if each.get("label") == ASSERTION:
            try:
                return msgspec.convert(each.get("data"), TaskAssertion)
            except msgspec.ValidationError:
                return None
    return None
