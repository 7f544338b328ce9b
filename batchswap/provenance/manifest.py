"""The contents of a manifest: what was done to which file, with which model, for which task, and with whose consent.

No picture travels in it: no thumbnail of the result or the target, and nothing of the face but its SHA-256.
"""

import time
from pathlib import Path
from typing import Any

import msgspec

from batchswap import __version__
from batchswap.local.engine.metadata import label
from batchswap.tasks import MediaKind, public

ASSERTION = "org.batchswap.task"
"""The label of the project's own assertion."""
_TARGET, _RECEIVED = "target", "received"


class SwapInput(msgspec.Struct, frozen=True):
    """An input of a task: an address, or a local file with its SHA-256.

    `path` is the file, if it still has this content.
    """

    address: str = ""
    sha256: str = ""
    path: Path | None = None
    face_id: int | None = None


class SwapFacts(msgspec.Struct, frozen=True):
    """Everything that a manifest says about a result. `task_id` is the provider's id, `at` the time of the submit.

    `is_neural`: a trained model made the swap, and not the mesh warp. `evidence` is the SHA-256 of the signed release.
    `visible_label`: the text that was drawn onto the picture; "": none.
    """

    batch: str
    key: str
    kind: MediaKind
    model: str
    provider: str
    is_neural: bool
    task_id: str
    attempt: int
    at: float
    target: SwapInput
    faces: tuple[SwapInput, ...] = ()
    consent: str = ""
    evidence: str = ""
    visible_label: str = ""


class TaskAssertion(msgspec.Struct, frozen=True, omit_defaults=True):
    """The project's own assertion, as it is stored in the manifest."""

    batch: str
    key: str
    provider: str
    task_id: str
    attempt: int
    time: str
    received_sha256: str
    target_sha256: str = ""
    target_url: str = ""
    consent: str = ""
    evidence_sha256: str = ""
    visible_label: str = ""


def assertion(facts: SwapFacts, received: str) -> TaskAssertion:
    """Return the assertion about a result that was received with this SHA-256."""
    return TaskAssertion(
        facts.batch,
        facts.key,
        facts.provider,
        facts.task_id,
        facts.attempt,
        moment(facts.at),
        received,
        facts.target.sha256,
        address(facts.target.address),
        facts.consent,
        facts.evidence,
        facts.visible_label,
    )


def definition(
    facts: SwapFacts, received: str, media_type: str, *, has_manifest: bool, has_target: bool
) -> dict[str, Any]:
    """Return the manifest for c2pa. `has_manifest`: the received file has one, and is added as an ingredient.

    `has_target`: the target has one, too, and is added as a file; otherwise it is only named here.
    """
    placed = [_face_label(number) for number, _ in enumerate(facts.faces)]
    if has_manifest:
        placed.append(_RECEIVED)
    actions: list[dict[str, Any]] = [{"action": "c2pa.opened", "parameters": {"ingredientIds": [_TARGET]}}]
    if placed:
        actions.append({"action": "c2pa.placed", "parameters": {"ingredientIds": placed}})
    actions.append(
        {
            "action": "c2pa.edited",
            "when": moment(facts.at),
            "softwareAgent": _agent(facts),
            "digitalSourceType": label.TRAINED_SOURCE_TYPE if facts.is_neural else label.SOURCE_TYPE,
            "description": "A face was replaced by software.",
        }
    )
    if facts.visible_label:
        drawn = {"name": "batchswap", "version": __version__}
        words = "A visible label was drawn, and the media were encoded again."
        actions.append({"action": "c2pa.edited", "softwareAgent": drawn, "description": words})
    return {
        "claim_generator_info": [{"name": "batchswap", "version": __version__}],
        "title": f"{facts.batch}/{facts.key}",
        "format": media_type,
        "ingredients": [
            *(() if has_target else (parent(facts),)),
            *(_face(number, face) for number, face in enumerate(facts.faces)),
        ],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": ASSERTION, "kind": "Json", "data": msgspec.to_builtins(assertion(facts, received))},
        ],
    }


def parent(facts: SwapFacts) -> dict[str, Any]:
    """Return the target as an ingredient: the file by its SHA-256, and a URL without its query."""
    found: dict[str, Any] = {"label": _TARGET, "relationship": "parentOf"}
    if facts.target.address:
        shown = address(facts.target.address)
        return found | {"title": shown.rpartition("/")[2] or shown, "informational_URI": shown}
    return found | {"title": "target", "description": f"SHA-256 {facts.target.sha256 or 'unknown'}"}


def received_file() -> dict[str, Any]:
    """Return the received file as an ingredient, which keeps the manifest of the vendor."""
    return {"label": _RECEIVED, "relationship": "componentOf", "title": "the result as it was received"}


def _face(number: int, face: SwapInput) -> dict[str, Any]:
    named = "new face" if face.face_id is None else f"new face {face.face_id}"
    found = {"label": _face_label(number), "relationship": "componentOf", "title": named}
    return found | ({"description": f"SHA-256 {face.sha256}"} if face.sha256 else {})


def _face_label(number: int) -> str:
    return f"face-{number}"


def _agent(facts: SwapFacts) -> dict[str, str]:
    """Return the model and its version. The API has no version, only the name of the model."""
    if facts.provider == "local":
        return {"name": f"batchswap local engine ({facts.model})", "version": __version__}
    return {"name": f"{facts.provider.upper()} {facts.model}"}


def address(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    return public(url).removesuffix("?…") if url else ""


def moment(at: float) -> str:
    """Return a time as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
