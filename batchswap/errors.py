"""The package's own errors, and the exit codes that they end a run with."""

from enum import IntEnum


class Exit(IntEnum):
    """How a command ends. Scripts depend on these numbers."""

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
"""From best to worst, judged by how soon a person must look: what will mend itself in the next run stands first."""


def worst(exits: set[Exit]) -> Exit:
    """The exit code that wins. No exits at all: everything is done."""
    return max(exits, key=SEVERITY.index, default=Exit.DONE)


class BatchswapError(Exception):
    """Anything that batchswap says in words instead of a traceback. `exit` is the exit code it ends a command with."""

    exit = Exit.UNEXPECTED


class UsageError(BatchswapError):
    """An option, a setting or a file that the user must mend."""

    exit = Exit.USAGE


class MissingExtra(UsageError):
    """A command needs an optional part of the package."""

    def __init__(self, extra: str, module: str) -> None:
        super().__init__(f"this needs {module}, which is not installed: pip install 'batchswap[{extra}]'")
        self.extra = extra


class ManifestProblem(Exception):
    """One thing that is wrong with one place of a manifest."""

    def __init__(self, file: str, line: int | None, field: str | None, message: str) -> None:
        self.file, self.line, self.field, self.message = file, line, field, message
        super().__init__(str(self))

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class ManifestErrors(UsageError):
    """Everything that is wrong with the manifests, at once."""

    def __init__(self, problems: list[ManifestProblem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems


class Flaw(Exception):
    """What is wrong with one text, in words; whoever knows its place in the manifest makes a ManifestProblem of it."""


class LedgerError(UsageError):
    """The ledger cannot be used as it is: not SQLite, another program's, newer than this version, read-only."""


class LedgerBehind(LedgerError):
    """The submission log has attempts of this very ledger that it does not know: it is an older copy."""


class LedgerFailed(LedgerError):
    """The ledger was the right one and cannot be used any more: locked by others for long, damaged, write-protected.

    Nothing that was asked for is wrong: the same command may go well later.
    """

    exit = Exit.UNEXPECTED


class LedgerDamaged(LedgerFailed):
    """What was opened as a sound file is not one any more."""


class LedgerFull(LedgerFailed):
    """The ledger could not be written: the disk is full or failing. What was committed before is intact."""


class LostRace(BatchswapError):
    """A task was not in the state that we believed it was in."""


class IdTaken(BatchswapError):
    """The remote id is another attempt's already: whoever names it again speaks of that one's task."""


class LedgerBusy(BatchswapError):
    """Another run holds the ledger."""

    exit = Exit.BUSY


class AccountRefused(BatchswapError):
    """The key is missing or malformed, or the API refuses the whole account (401, 403, 505)."""

    exit = Exit.REFUSED


class ApiUnavailable(BatchswapError):
    """The API could not be reached, or stayed under maintenance."""

    exit = Exit.UNAVAILABLE


class NeverSent(BatchswapError):
    """The request did not leave this machine (DNS, refused, TLS, connect timeout). Sending it again is safe."""


class MaybeSent(BatchswapError):
    """The request may have arrived, and no answer came. Only a request that is safe to repeat may be sent again."""


class Refusal(BatchswapError):
    """What the local server answers instead of data: `code` of api.md, "Codes"; the HTTP status, if it is another.

    `retry_after` is the header's text: whole seconds, or an HTTP date.
    """

    def __init__(self, code: int, message: str, *, status: int | None = None, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.retry_after = code, message, status or code, retry_after


class InputGone(BatchswapError):
    """A local file that was to be uploaded cannot be read, or is not what it was when the upload began."""


class WireError(BatchswapError):
    """Bytes that are not the API's JSON envelope."""


class PrivateAddress(OSError):
    """A media host's name led to an address that is not public. An OSError, so that connecting fails with it."""


class DownloadError(BatchswapError):
    """A result that could not be had. `reason` is a short code; `stale` asks for a fresh media URL.

    `retry_after` is that header of the host, as it came.
    """

    def __init__(
        self, reason: str, message: str, *, final: bool = False, stale: bool = False, retry_after: str = ""
    ) -> None:
        super().__init__(message)
        self.reason, self.final, self.stale, self.retry_after = reason, final, stale, retry_after


class EngineError(BatchswapError):
    """The local engine cannot do this swap. `culprit` names the input: "video", "image" or "face"."""

    def __init__(self, culprit: str, message: str) -> None:
        super().__init__(culprit, message)  # both, so that it survives the way back from a worker process
        self.culprit, self.message = culprit, message

    def __str__(self) -> str:
        return self.message
