"""Balance calls, to test whether the API answers and whether an unclear submit was charged."""

from batchswap import verdicts, wire
from batchswap.errors import Exit, MaybeSent, NeverSent
from batchswap.ledger import transitions
from batchswap.runner.context.balance_evidence import Doubt
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.stop_reasons import Stop
from batchswap.runner.sync.waits import rest
from batchswap.verdicts import Kind

UNCLEAR = 5
"""Number of submits in a row without a clear answer, with a balance call after each, that stop submitting."""


class BalanceProbe:
    """Balance calls as probes. `is_calling` is true during a call."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self.is_calling = False
        self._failed = 0
        """Calls in a row without an answer."""

    async def probe(self) -> None:
        """Test whether the API answers, during a maintenance or a long pause, or when other calls hang."""
        self._run.health.probed(self._run.clock.monotonic())
        self.is_calling = True
        try:
            await self._ask()
        finally:
            self.is_calling = False

    async def _ask(self) -> bool:
        """Request the balance. Return whether the API gave a regular answer, even without a balance."""
        run = self._run
        is_quiet, submits = run.is_quiet, run.traffic.requests["submit"]
        try:
            with run.calling("balance"):
                answer = await run.api.balance()
        except (NeverSent, MaybeSent) as error:
            run.on_failure(error)
            return False
        verdict = verdicts.judge_safe(answer.status, answer.code, is_envelope=answer.is_envelope)
        run.on_answer("balance", verdict, answer)
        if verdict.kind is Kind.OK:
            balance = wire.Balance.from_json(answer.data).balance
            run.evidence.note(balance, is_quiet=is_quiet and submits == run.traffic.requests["submit"])
        return verdict.kind not in (Kind.RATE_LIMITED, Kind.MAINTENANCE, Kind.ACCOUNT_REFUSED, Kind.TROUBLE)

    async def check(self) -> None:
        """Test the API. After unclear submits, record whether the balance fell."""
        run = self._run
        self.is_calling = True
        doubted = list(run.evidence.unclear_submits)
        try:
            if not await self._ask():
                self._failed += 1
                await rest(run.backoff(self._failed), run.state.submits_over)
                return
            self._failed = 0
            if not doubted:
                return
            run.evidence.was_read(len(doubted))
            await note_evidence(run, doubted, run.evidence.quiet)
            if run.evidence.reads >= UNCLEAR:
                words = f"{UNCLEAR} submits in a row got no clear answer: nothing more is submitted"
                run.state.stop_submits(Stop(Exit.UNAVAILABLE, words))
        finally:
            self.is_calling = False


async def note_evidence(run: RunContext, doubted: list[Doubt], after: float | None) -> None:
    """Record the balance before and after a single unclear submit, if nothing else was in flight."""
    if len(doubted) != 1 or after is None:
        return
    attempt, before = doubted[0]
    if before is not None:
        await run.ledger.do(transitions.note_balance, attempt, before=before, after=after)
