"""A free call that may be repeated: its turn, its tries, and whether it fails alone or with everybody's."""

from collections.abc import Awaitable, Callable

from batchswap import verdicts
from batchswap.client import Answer
from batchswap.errors import MaybeSent, NeverSent
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.prepare.steps import FreeCallFailed
from batchswap.runner.stop_reasons import OUT_OF_CREDITS, RowRefused, Stopped
from batchswap.runner.sync.waits import rest
from batchswap.tasks import clean
from batchswap.verdicts import Kind, Retries, Verdict

BoundCall = Callable[[], Awaitable[Answer]]


async def ask(run: RunContext, kind: str, call: BoundCall) -> Answer | None:
    """Wait for a turn, retry in trouble, and return a good answer. None: the API has no such thing (404).

    While the API answers no call at all, wait until the run ends. Raise RowRefused for a 422, FreeCallFailed when
    other calls are answered and this one is not, Stopped when the run ends or submits no more, also for a 402.
    """
    retries = Retries(run.settings.retries)
    while run.state.submit_stop is None:
        try:
            verdict, answer = await _hear(run, kind, call)
        except (NeverSent, MaybeSent) as error:
            verdict, why = Verdict(Kind.TROUBLE), str(error)
        else:
            why = f"error {verdict.code}"
            match verdict.kind:
                case Kind.OK:
                    return answer
                case Kind.REJECTED:
                    raise RowRefused(clean(answer.message) or verdict.kind.value)
                case Kind.NO_CREDITS:
                    run.state.stop_submits(OUT_OF_CREDITS)
                    break
        if retries.failed(run.clock.monotonic(), run.health.good_at):
            if verdict.kind is Kind.MISSING:
                return None
            raise FreeCallFailed(f"{kind}-failed", f"the API serves others and not this: {why}")
        if not await rest(run.backoff(retries.failures), run.state.submits_over):
            break
        await _look(run, retries.failed_at)
    raise Stopped


async def ask_once(run: RunContext, kind: str, call: BoundCall) -> Answer | None:
    """A good answer, or None when there is none at the first try. Raises Stopped."""
    try:
        verdict, answer = await _hear(run, kind, call)
    except (NeverSent, MaybeSent):
        return None
    return answer if verdict.kind is Kind.OK else None


async def _look(run: RunContext, since: float) -> None:
    """Nobody was answered since a call failed: is anybody? One look at the balance tells all who wait."""
    if run.health.may_ask_balance(since, run.clock.monotonic()):
        await ask_once(run, "balance", run.api.balance)


async def _hear(run: RunContext, kind: str, call: BoundCall) -> tuple[Verdict, Answer]:
    """429 and maintenance are not tries: the pacer holds the next turn back until they are over."""
    while True:
        async with run.state.turns.take():
            try:
                with run.calling(kind):
                    answer = await call()
            except (NeverSent, MaybeSent) as error:
                run.on_failure(error)
                raise
        verdict = verdicts.judge_safe(answer.status, answer.code, is_envelope=answer.is_envelope)
        run.on_answer(verdict, answer)
        if verdict.kind is Kind.ACCOUNT_REFUSED:
            raise Stopped
        if verdict.kind not in (Kind.RATE_LIMITED, Kind.MAINTENANCE):
            return verdict, answer
