"""Exceptions of the package, and the exit codes of its commands."""

from enum import IntEnum
from typing import NamedTuple


class Exit(IntEnum):
    """Exit code of a command. Scripts depend on these numbers."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    FAILED = 3
    UNCERTAIN = 4
    REFUSED = 5
    NO_CREDITS = 6
    DEADLINE = 7
    UNAVAILABLE = 8
    BUSY = 75
    INTERRUPTED = 130
    TERMINATED = 143


SEVERITY = (
    Exit.DONE,
    Exit.DEADLINE,
    Exit.FAILED,
    Exit.NO_CREDITS,
    Exit.UNAVAILABLE,
    Exit.UNCERTAIN,
    Exit.REFUSED,
    Exit.USAGE,
    Exit.BUSY,
    Exit.INTERRUPTED,
    Exit.TERMINATED,
    Exit.UNEXPECTED,
)
"""From best to worst, by how soon a person has to act. Trouble that the next run repairs comes first."""


def worst(exits: set[Exit]) -> Exit:
    """Return the worst exit code; DONE if there is none."""
    return max(exits, key=SEVERITY.index, default=Exit.DONE)


class Ending(NamedTuple):
    """How a run ended. `exit_code` None: it was killed. `reason` None: unknown."""

    exit_code: int | None
    reason: str | None = None

    def had(self, exit_code: int, words: str) -> bool:
        """Return whether the run ended with this exit code, and for REFUSED and NO_CREDITS with these words, too.

        Each of these two has several causes, and each cause needs another action of the user.
        """
        has_causes = exit_code in (Exit.REFUSED, Exit.NO_CREDITS) and self.reason is not None
        return exit_code == self.exit_code and (not has_causes or words in (self.reason or ""))


class BatchswapError(Exception):
    """Base of the errors that commands show as a sentence, without a traceback. `exit` is the exit code."""

    exit = Exit.UNEXPECTED


class UsageError(BatchswapError):
    """An option, a setting or a file that the user has to correct."""

    exit = Exit.USAGE


class MissingExtra(UsageError):
    """A command needs an optional part of the package."""

    def __init__(self, extra: str, *modules: str) -> None:
        are = "is" if len(modules) == 1 else "are"
        super().__init__(
            f"this needs {', '.join(modules)}, which {are} not installed: pip install 'batchswap[{extra}]'"
        )
        self.extra = extra


class ManifestProblem(Exception):
    """One problem at one place of a manifest."""

    def __init__(self, file: str, line: int | None, field: str | None, message: str) -> None:
        self.file, self.line, self.field, self.message = file, line, field, message
        super().__init__(str(self))

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class ManifestErrors(UsageError):
    """All problems of the manifests together."""

    def __init__(self, problems: list[ManifestProblem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems


class Flaw(Exception):
    """The problem with one text. The caller adds the place in the manifest and raises a ManifestProblem."""


class LedgerError(UsageError):
    """The ledger cannot be used: not SQLite, from another program, newer than this version, or read-only."""


class LedgerOutdated(LedgerError):
    """An earlier version of batchswap wrote the ledger, and it is not updated yet."""


class LedgerBehind(LedgerError):
    """The submission log has attempts of this ledger that the ledger lacks: it is an older copy."""


class LedgerFailed(LedgerError):
    """The ledger cannot be used at the moment: locked for long, damaged or write-protected.

    The command itself is correct and may succeed later.
    """

    exit = Exit.UNEXPECTED


class LedgerDamaged(LedgerFailed):
    """The file was intact when it was opened and is damaged now."""


class LedgerFull(LedgerFailed):
    """The ledger could not be written because the disk is full or failing. Earlier commits are intact."""


class LostRace(BatchswapError):
    """A task was not in the expected state."""


class IdTaken(BatchswapError):
    """Another attempt already has this remote id."""


class LedgerBusy(BatchswapError):
    """Another run uses the ledger."""

    exit = Exit.BUSY


class AccountRefused(BatchswapError):
    """The key is missing or malformed, or the API refuses the whole account (401, 403, 505)."""

    exit = Exit.REFUSED


class ApiUnavailable(BatchswapError):
    """The API could not be reached, or stayed under maintenance."""

    exit = Exit.UNAVAILABLE


class ProxyUnavailable(ApiUnavailable):
    """The API could not be reached because of the proxy."""


class NeverSent(BatchswapError):
    """The request did not leave this machine (DNS, refused, TLS, connect timeout). Sending it again is safe."""


class ProxyFailed(NeverSent):
    """The proxy made no connection to the host."""


class MaybeSent(BatchswapError):
    """The request may have arrived, but no answer came. Send it again only if repeating it is safe."""


class Refusal(BatchswapError):
    """Error answer of the local server, with a `code` of docs/api.md, "Codes", and the HTTP status if it differs.

    `retry_after` is the header's text: whole seconds, or an HTTP date.
    """

    def __init__(self, code: int, message: str, *, status: int | None = None, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.retry_after = code, message, status or code, retry_after


class InputGone(BatchswapError):
    """A local file cannot be read for its upload, or changed since the upload began."""


class WireError(BatchswapError):
    """Bytes that are not the API's JSON envelope."""


class PrivateAddress(OSError):
    """The name of a media host resolves to an address that is not public. An OSError, so that connecting fails."""


class DownloadError(BatchswapError):
    """A download failed. `reason` is a short code; `stale` means that a fresh media URL may help.

    `retry_after` is the unchanged header of the host.
    """

    def __init__(
        self, reason: str, message: str, *, final: bool = False, stale: bool = False, retry_after: str = ""
    ) -> None:
        super().__init__(message)
        self.reason, self.final, self.stale, self.retry_after = reason, final, stale, retry_after


class EngineError(BatchswapError):
    """The local engine cannot do this swap. `culprit` names the input: "video", "image" or "face"."""

    def __init__(self, culprit: str, message: str) -> None:
        super().__init__(culprit, message)  # both: pickling passes them from a worker process
        self.culprit, self.message = culprit, message

    def __str__(self) -> str:
        return self.message


class ProvenanceError(EngineError):
    """A result cannot be labelled or signed. Its file is as it was."""
