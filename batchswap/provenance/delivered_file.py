"""Label and sign one result: into a temporary file, which is read back and verified before it gets its name.

The original file is never changed. The signed file itself shows which task and attempt it is from, so that after a kill
at any moment the same call does only what is missing, and a result is signed once:

    facts = await asyncio.to_thread(facts_of, db, item)
    job = SigningJob(part, signed, facts, settings.sign, settings.timestamp_url, received=verified.sha256)
    done = await workers.run(deliver_signed, job, limit=600)   # in a process: it takes CPU time, and c2pa is native
    os.replace(done.path, part)                                # `signed` is next to `part`: one step
    await ledger.write(signatures.record, item.id, done.result)  # what was received, the new SHA-256 and size
    await store.publish(output, Verified(done.sha256, done.size, done.media_type), replaces=…)

After a kill before `record`, `part` is the signed file and the ledger has the SHA-256 of the received one: the same
call returns `part` itself with `is_new` False. If it raises ProvenanceError, the result can be published as it came.
"""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import msgspec

from batchswap.errors import ProvenanceError
from batchswap.ledger.signatures import SignedResult
from batchswap.network import DIRECT, Routes
from batchswap.provenance import labels, load
from batchswap.provenance.keys import SigningKeys, load_keys, open_signer
from batchswap.provenance.manifest import SwapFacts, TaskAssertion, definition, parent, received_file
from batchswap.provenance.new_file import NewFile, created, sync_folder
from batchswap.provenance.pieces import PiecedFile, digest
from batchswap.provenance.stamps import StampRelay
from batchswap.provenance.verification import SETTINGS, Provenance, SignatureState, read_manifest
from batchswap.tasks import MediaKind, public

_SETTINGS = SETTINGS | {
    "builder": {
        "thumbnail": {"enabled": False},
        "actions": {f"auto_{name}_action": {"enabled": False} for name in ("opened", "placed", "created")},
    }
}


class SigningJob(msgspec.Struct, frozen=True):
    """The job for a process of the pool; it can be pickled. `source` is a complete file under any name.

    `destination` is a free name in a folder on the same file system. `keys`: the folder of the keys; None: only label
    the file. `received`: the SHA-256 of the file as it was downloaded, if it is known. `stored`: the SHA-256 of the
    source that the ledger has, if it is not only downloaded any more. `content`: a copy of the source that was encoded
    again, and is delivered in its place; None: the source itself.
    """

    source: Path
    destination: Path
    facts: SwapFacts
    keys: Path | None = None
    timestamp_url: str = ""
    label: bool = True
    received: str = ""
    content: Path | None = None
    stored: str = ""
    routes: Routes = DIRECT
    """How the time-stamp server is reached."""


class SignedFile(msgspec.Struct, frozen=True):
    """The outcome. `path` is the file to publish: the destination, or the source if there was nothing to do.

    `is_new`: this call made it. `remarks` are sentences for the user.
    """

    path: Path
    sha256: str
    size: int
    received_sha256: str
    media_type: str
    is_signed: bool
    is_new: bool
    is_stamped: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def result(self) -> SignedResult:
        """Return what the ledger records."""
        return SignedResult(self.received_sha256, self.sha256, self.size, self.is_signed)


def deliver_signed(job: SigningJob) -> SignedFile:
    """Label and sign a result. Raise ProvenanceError, UsageError for the keys, and MissingExtra.

    The culprit of the ProvenanceError is "disk" for a file that cannot be read or written, such as on a full disk.
    """
    try:
        return _deliver(job)
    except OSError as error:
        path = error.filename or job.destination
        raise ProvenanceError("disk", f"{path} cannot be read or written: {error.strerror or error}") from error


def _deliver(job: SigningJob) -> SignedFile:
    if (found := finished(job)) is not None:
        return found
    with job.source.open("rb") as file:
        sha256, received = _hashes(job, file)
        if job.content is not None:
            with job.content.open("rb") as content:
                return _FileDelivery(job, file, content, received).make()
        if sha256 != received and job.keys is None:  # an interrupted call has labelled it
            media_type, size = labels.media_type(file, job.facts.kind), file.seek(0, os.SEEK_END)
            return SignedFile(job.source, sha256, size, received, media_type, is_signed=False, is_new=False)
        return _FileDelivery(job, file, file, received).make()


def finished(job: SigningJob) -> SignedFile | None:
    """Return the file that an interrupted call has signed; None if there is none."""
    return next(filter(None, (_recognise(path, job) for path in (job.source, job.destination))), None)


def received_type(job: SigningJob) -> str:
    """Return the media type of the source. Raise ProvenanceError for another file than the one that was downloaded."""
    with job.source.open("rb") as file:
        _hashes(job, file)
        return labels.media_type(file, job.facts.kind)


def _hashes(job: SigningJob, file: BinaryIO) -> tuple[str, str]:
    """Return the SHA-256 of the open source, and that of the downloaded file. It may have got its label since."""
    sha256 = digest(file)
    received = job.received or sha256
    if sha256 not in (received, job.stored):
        media_type = labels.media_type(file, job.facts.kind)
        if not labels.is_labelled_from(file, media_type, received):
            raise ProvenanceError("result", f"{job.source} is not the file that was downloaded")
    return sha256, received


def is_ours(found: TaskAssertion | None, facts: SwapFacts, received: str = "") -> bool:
    """Return whether a manifest is about this task, attempt and release, and about the file that was received."""
    if found is None or received not in ("", found.received_sha256):
        return False
    if (found.attempt, found.consent) != (facts.attempt, facts.consent):
        return False
    if facts.task_id or found.task_id:
        return found.task_id == facts.task_id
    return is_named(found, facts)


def is_named(found: TaskAssertion, facts: SwapFacts) -> bool:
    """Return whether a manifest names this row. A reused result has the task id of another one."""
    return (found.batch, found.key) == (facts.batch, facts.key)


def _recognise(path: Path, job: SigningJob) -> SignedFile | None:
    """Return a file that an interrupted call has signed for this task and attempt; None for any other."""
    if job.keys is None:
        return None
    try:
        with path.open("rb") as file:
            format_ = labels.media_type(file, job.facts.kind)
            file.seek(0)
            found = read_manifest(file, format_)
            sha256 = digest(file)
            if not found.is_intact or found.task is None:
                return None
            # A ledger that was rebuilt knows only the signed file.
            is_known = sha256 == job.stored and is_named(found.task, job.facts)
            if not is_ours(found.task, job.facts, "" if is_known else job.received):
                return None
            if job.facts.visible_label not in ("", found.task.visible_label):
                return None
            return SignedFile(
                path,
                sha256,
                file.seek(0, os.SEEK_END),
                found.task.received_sha256,
                format_,
                is_signed=True,
                is_new=False,
                is_stamped=bool(found.stamped_at),
            )
    except (FileNotFoundError, ProvenanceError):
        return None


class _FileDelivery:
    """The delivery of one open file, which has this SHA-256. `content` is the same, or encoded again."""

    def __init__(self, job: SigningJob, file: BinaryIO, content: BinaryIO, received: str) -> None:
        self._job, self._file, self._content, self._received = job, file, content, received
        self._media_type = labels.media_type(content, job.facts.kind)
        self._remarks: list[str] = []

    def make(self) -> SignedFile:
        """Make the destination. If that fails, nothing of it is left."""
        content = self._labelled()
        destination = self._job.destination
        temporary = destination.with_name(f"{destination.name}.new")
        try:
            with created(temporary, self._file) as made:
                found = self._write(content, made)
                made.flush()
                os.fsync(made.fileno())
                size = made.seek(0, os.SEEK_END)
                sha256 = digest(made)
            temporary.replace(destination)
            sync_folder(destination.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        return SignedFile(
            destination,
            sha256,
            size,
            self._received,
            self._media_type,
            is_signed=found is not None,
            is_new=True,
            is_stamped=found is not None and bool(found.stamped_at),
            remarks=tuple(self._remarks),
        )

    def _labelled(self) -> PiecedFile:
        """Return the content with the label, if it can have one. The signature marks the file as well."""
        facts = self._job.facts
        if self._job.label:
            try:
                return labels.labelled(self._content, self._media_type, facts.task_id, is_neural=facts.is_neural)
            except ProvenanceError as error:
                if self._job.keys is None:
                    raise
                self._remarks.append(f"it has no label: {error}")
        return PiecedFile(self._content, [range(self._content.seek(0, os.SEEK_END))])

    def _write(self, content: PiecedFile, made: NewFile) -> Provenance | None:
        """Write the content into `made`, signed if there are keys."""
        if self._job.keys is None:
            made.writelines(content.blocks())
            return None
        keys, url = load_keys(self._job.keys), self._job.timestamp_url
        relay = _relay(url, self._job.routes) if url else None
        if relay is not None and not relay.is_down:
            try:
                self._sign(content, made, keys, relay.address)
                return self._read_back(made)
            except ProvenanceError as error:
                relay.problem = relay.problem or str(error)
                made.seek(0)
                made.truncate()
        self._sign(content, made, keys, "")
        found = self._read_back(made)
        if relay is not None:
            self._remarks.append(f"it has no time stamp: {public(url)} failed ({relay.problem})")
        return found

    def _sign(self, content: PiecedFile, made: NewFile, keys: SigningKeys, stamps: str) -> None:
        c2pa, facts = load("c2pa"), self._job.facts
        received_type, target = _manifest_type(self._file, facts.kind), _target(facts)
        has_manifest = bool(received_type)
        made_of = definition(
            facts, self._received, self._media_type, has_manifest=has_manifest, has_target=target is not None
        )
        try:
            with (
                open_signer(keys, stamps) as signer,
                c2pa.Context.from_dict(_SETTINGS) as context,
                c2pa.Builder(made_of, context=context) as builder,
            ):
                if target is not None:
                    path, media_type = target
                    with path.open("rb") as file:
                        builder.add_ingredient(parent(facts), media_type, file)
                if has_manifest:
                    self._file.seek(0)
                    builder.add_ingredient(received_file(), received_type, self._file)
                content.seek(0)
                builder.sign(signer, self._media_type, content, made)
        except c2pa.C2paError as error:
            if made.error is not None:
                raise made.error from error
            raise ProvenanceError("result", f"it cannot be signed: {' '.join(str(error).split())[:300]}") from error

    def _read_back(self, made: BinaryIO) -> Provenance:
        """Return the provenance of the signed file. Raise ProvenanceError unless it is intact and about this task."""
        made.seek(0)
        found = read_manifest(made, self._media_type)
        if not found.is_intact or not is_ours(found.task, self._job.facts, self._received):
            reason = found.problem or ", ".join(found.codes) or "its manifest is about another task"
            raise ProvenanceError("result", f"the signed file is not valid: {reason}")
        return found


def _target(facts: SwapFacts) -> tuple[Path, str] | None:
    """Return a target that has a manifest, and its media type. Others are only named: c2pa would keep nothing of them.

    A target that is gone or cannot be read is only named, too.
    """
    if (path := facts.target.path) is None:
        return None
    try:
        with path.open("rb") as file:
            media_type = _manifest_type(file)
            return (path, media_type) if media_type else None
    except OSError:
        return None


def _manifest_type(file: BinaryIO, kind: MediaKind | None = None) -> str:
    """Return the media type of a file with a manifest; "" if it has none, or is of a format that can have none."""
    try:
        media_type = labels.media_type(file, kind)
        file.seek(0)
        return "" if read_manifest(file, media_type).state is SignatureState.NONE else media_type
    except ProvenanceError:
        return ""


@cache
def _relay(url: str, routes: Routes) -> StampRelay:
    return StampRelay(url, routes)
