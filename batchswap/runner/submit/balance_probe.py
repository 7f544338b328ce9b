"""What the balance call is asked for besides the balance: is anybody served, and did an unclear submit cost."""

from math import inf

from batchswap import verdicts, wire
from batchswap.errors import Exit, MaybeSent, NeverSent
from batchswap.ledger import transitions
from batchswap.runner.context import PROBE_EVERY, Desk, Doubt
from batchswap.runner.stop_reasons import Stop
from batchswap.runner.sync.waits import rest
from batchswap.verdicts import Kind

UNCLEAR = 5
"""Submits in a row without a clear answer, each after a look at the balance, before the run submits no more."""


class Balance:
    """The cheapest call of the API, as a probe. `is_looking`: one is on its way."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.is_looking = False
        self._failed = 0
        """Looks in a row without an answer."""

    async def probe(self) -> None:
        """See whether the API answers: once a minute in a maintenance or a long pause, and when other calls hang."""
        desk, now = self._desk, self._desk.clock.monotonic()
        if desk.probe_at < inf:
            desk.probe_at = now + PROBE_EVERY
        desk.patience.looked(now)
        self.is_looking = True
        try:
            await self._ask()
        finally:
            self.is_looking = False

    async def _ask(self) -> bool:
        """Ask for the balance. Whether the API is well enough to answer, if only that there is none."""
        desk = self._desk
        quiet, submits = desk.is_quiet(), desk.requests["submit"]
        try:
            with desk.calling("balance"):
                answer = await desk.api.balance()
        except (NeverSent, MaybeSent) as error:
            desk.unreachable(error)
            return False
        verdict = verdicts.judge_safe(answer.status, answer.code, is_envelope=answer.is_envelope)
        desk.heard(verdict, answer)
        if verdict.kind is Kind.OK:
            desk.balance = wire.Balance.from_json(answer.data).balance
            if quiet and submits == desk.requests["submit"]:
                desk.quiet_balance = desk.balance
        return verdict.kind not in (Kind.RATE_LIMITED, Kind.MAINTENANCE, Kind.ACCOUNT_REFUSED, Kind.TROUBLE)

    async def look(self) -> None:
        """Is the API itself well? After a submit without a clear answer: and did the balance fall?"""
        desk = self._desk
        self.is_looking = True
        doubted = list(desk.in_doubt)
        try:
            if not await self._ask():
                self._failed += 1
                await rest(desk.backoff(self._failed), desk.submits_over)
                return
            self._failed = 0
            if not doubted:
                return
            del desk.in_doubt[: len(doubted)]
            desk.unclear += 1
            await note_evidence(desk, doubted, desk.quiet_balance)
            if desk.unclear >= UNCLEAR:
                words = f"{UNCLEAR} submits in a row got no clear answer: stopped"
                desk.stop_submits(Stop(Exit.UNAVAILABLE, words))
        finally:
            self.is_looking = False


async def note_evidence(desk: Desk, doubted: list[Doubt], after: float | None) -> None:
    """What the balance says of the one submit that got no clear answer, if nothing else was in flight."""
    if len(doubted) != 1 or after is None:
        return
    attempt, before = doubted[0]
    if before is not None:
        await desk.ledger.do(transitions.note_balance, attempt, before=before, after=after)
