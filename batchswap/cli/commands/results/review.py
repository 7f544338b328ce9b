"""`batchswap review`: accept, reject or redo results."""

import sys

import click

from batchswap.cli.config import elsewhere, is_typed
from batchswap.cli.console import Console
from batchswap.cli.result_options import ReviewOptions
from batchswap.errors import Exit, UsageError
from batchswap.operations import review as reviews
from batchswap.operations.review import Reviewed
from batchswap.report.formatting import plural
from batchswap.report.next_commands import command
from batchswap.states import Review

_VERDICTS = {"accept": Review.ACCEPTED, "reject": Review.REJECTED, "reset": Review.NONE}
_DONE = {Review.ACCEPTED: "accepted", Review.REJECTED: "rejected", Review.NONE: "no longer judged"}


def review(console: Console, options: ReviewOptions) -> int:
    """Record a judgement, or queue another attempt."""
    ctx = click.get_current_context()
    given = [name for name in (*_VERDICTS, "redo") if getattr(options, name)]
    if len(given) != 1:
        more = f": {' and '.join(f'--{name}{elsewhere(ctx, name)}' for name in given)} were given" if given else ""
        raise UsageError(f"give one of --accept, --reject, --reset and --redo{more}")
    if given == ["redo"]:
        return _redo(console, options, is_agreed=options.yes and is_typed(ctx, "yes"))
    verdict = _VERDICTS[given[0]]
    done = reviews.give(options.db, options.out, options.keys, verdict, options.note)
    console.conclude("; ".join([f"{plural(done.total, 'result')} {_DONE[verdict]}", *_about(done, options)]))
    return Exit.DONE


def _redo(console: Console, options: ReviewOptions, *, is_agreed: bool) -> int:
    price = reviews.price(options.db, options.keys)
    if price.tasks and not is_agreed:
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError(f"{price}; add --yes to queue it")
        if not click.confirm(f"{price}. Queue it?", err=True):
            console.conclude("nothing was changed")
            return Exit.DONE
    done = reviews.redo(options.db, options.out, options.keys, options.note)
    if not done.total:
        console.conclude("0 tasks queued, because all of them were queued before; the next run takes them")
        return Exit.DONE
    parts = [f"{plural(done.total, 'task')} queued: {price}", *_about(done.moved, options)]
    if done.total > done.orphaned:
        parts.append("the next run takes " + ("it" if done.total == 1 else "them"))
    if done.orphaned:
        has = "has" if done.orphaned == 1 else "have"
        parts.append(f"{done.orphaned:,} {has} no row in the manifest any more and will not run without it")
    console.conclude("; ".join(parts))
    return Exit.DONE


def _about(done: Reviewed, options: ReviewOptions) -> list[str]:
    """Return what happened to the files."""
    parts = [f"moved to {', '.join(done.folders)}"] if done.folders else []
    if done.missing:
        some = ", ".join(done.missing[:3]) + " …" * (len(done.missing) > 3)
        fetch = (
            f"`{command('retry', options.db, done.missing[0])}`" if len(done.missing) == 1 else "`retry --state done`"
        )
        are = "file is" if len(done.missing) == 1 else "files are"
        it = "it" if len(done.missing) == 1 else "them"
        hint = "" if options.reject or options.redo else f"; {fetch} and a run download {it} again"
        parts.append(f"{plural(len(done.missing), 'result')} whose {are} missing: {some}{hint}")
    return parts
