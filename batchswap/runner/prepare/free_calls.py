"""Free calls of a run: turns, retries, and the distinction between one failing call and an outage."""

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
    """Wait for a turn, retry if necessary, and return a good answer; None for a 404.

    While the API answers no call at all, wait until the run ends. Raise RowRefused for a 422, FreeCallFailed if only
    this call fails, and Stopped if the run ends or stops submitting (also after a 402).
    """
    retries = Retries(run.settings.retries)
    while run.state.submit_stop is None:
        try:
            verdict, answer = await _send(run, kind, call)
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
            raise FreeCallFailed(f"{kind}-failed", f"this call fails while others work: {why}")
        if not await rest(run.backoff(retries.failures), run.state.submits_over):
            break
        await _test_api(run, retries.failed_at)
    raise Stopped


async def ask_once(run: RunContext, kind: str, call: BoundCall) -> Answer | None:
    """Try once. Return a good answer, else None. Raise Stopped."""
    try:
        verdict, answer = await _send(run, kind, call)
    except (NeverSent, MaybeSent):
        return None
    return answer if verdict.kind is Kind.OK else None


async def _test_api(run: RunContext, since: float) -> None:
    """Request the balance if no call was answered since `since`. One such call serves all that wait."""
    if run.health.may_ask_balance(since, run.clock.monotonic()):
        await ask_once(run, "balance", run.api.balance)


async def _send(run: RunContext, kind: str, call: BoundCall) -> tuple[Verdict, Answer]:
    """Send the call until the answer is neither a 429 nor a maintenance, which do not count as tries."""
    while True:
        async with run.state.turns.take():
            try:
                with run.calling(kind):
                    answer = await call()
            except (NeverSent, MaybeSent) as error:
                run.on_failure(error)
                raise
        verdict = verdicts.judge_safe(answer.status, answer.code, is_envelope=answer.is_envelope)
        run.on_answer(kind, verdict, answer)
        if verdict.kind is Kind.ACCOUNT_REFUSED:
            raise Stopped
        if verdict.kind not in (Kind.RATE_LIMITED, Kind.MAINTENANCE):
            return verdict, answer
