"""What fails a row. Many of the same in a row are one mistake, and stop the run before all rows fail."""

from batchswap.errors import Exit
from batchswap.runner.context import RunContext
from batchswap.runner.stop_reasons import Stop


class Refusals:
    """Counts what ends in the same way, one after the other. `what` names it, in the plural."""

    def __init__(self, run: RunContext, what: str) -> None:
        self._run, self._what = run, what
        self._code, self._count = "", 0

    def note(self, code: str, how: str = "refused") -> None:
        """One more was refused, or has failed."""
        self._count = self._count + 1 if code == self._code else 1
        self._code = code
        if self._count >= self._run.settings.same_refusals:
            words = f"{self._count} {self._what} in a row {how} as {code}: stopped"
            self._run.state.stop_submits(Stop(Exit.FAILED, words))

    def clear(self) -> None:
        """One was not."""
        self._code, self._count = "", 0
