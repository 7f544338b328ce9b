"""`batchswap sign`: sign results on the disk, or make the keys for it."""

import time
from pathlib import Path

from batchswap.cli.console import Console, print_json, print_lines
from batchswap.cli.result_options import SignOptions
from batchswap.errors import Exit, UsageError
from batchswap.network import routes_of
from batchswap.operations.sign import SigningOutcome, SignOrder, check, sign_results
from batchswap.provenance import keys
from batchswap.report.formatting import plural, safe

INIT = "init"
NAMED = 20
"""Remarks that are printed at most."""
_EVERY = 10.0
"""Seconds between two lines about the progress."""


def sign(console: Console, options: SignOptions) -> int:
    """Make keys, or sign results. Return the exit code."""
    if options.results[:1] == (INIT,):
        return _init(console, options)
    if options.sign is None:
        raise UsageError("--sign DIR names the keys; `batchswap sign init DIR` makes them")
    order = SignOrder(
        options.db,
        options.out,
        options.sign,
        options.results,
        options.timestamp_url,
        label=not options.no_label,
        routes=routes_of(options.proxy),
    )
    for words in check(order):
        console.warn("keys", words)
    outcome = sign_results(order, _SigningProgress(console).tell)
    code = Exit.FAILED if outcome.failed else Exit.DONE
    for words in [*outcome.failed[:NAMED], *outcome.remarks[:NAMED]]:
        console.warn("not-signed" if words in outcome.failed else "signed", words)
    if options.as_json:
        print_json({"exit_code": code, **_to_json(outcome)})
    console.conclude(_last_line(outcome))
    return code


def _init(console: Console, options: SignOptions) -> int:
    if len(options.results) != 2:
        raise UsageError("`batchswap sign init DIR` needs one folder, which gets the keys")
    folder = Path(options.results[1])
    try:
        keys.create(folder, options.name)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
    names = {name: str(folder / name) for name in (keys.ROOT, keys.CHAIN, keys.KEY)}
    if options.as_json:
        print_json({"exit_code": Exit.DONE, **{name.removesuffix(".pem"): path for name, path in names.items()}})
        return Exit.DONE
    print_lines(
        safe(line)
        for line in (
            f"{names[keys.KEY]}    the key: keep it secret, and keep a copy",
            f"{names[keys.CHAIN]}  the certificate for signing, valid for {keys.YEARS} years",
            f"{names[keys.ROOT]}   give it to everyone who verifies your files",
            "",
            "Whoever does not have root.pem sees that a file is unchanged, and an unknown signer. For a name that",
            "strangers trust, put a certificate of a C2PA authority into chain.pem (its issuers after it) and its key",
            "into key.pem: `batchswap guide provenance`.",
            "",
            f"To sign results: batchswap run … --sign {folder}, or set BATCHSWAP_SIGN={folder.absolute()}",
        )
    )
    return Exit.DONE


def _to_json(outcome: SigningOutcome) -> dict[str, object]:
    return {
        "signed": outcome.signed,
        "already_signed": outcome.known,
        "failed": outcome.failed,
        "remarks": outcome.remarks,
    }


def _last_line(outcome: SigningOutcome) -> str:
    parts = [f"{plural(outcome.signed, 'result')} signed"]
    if outcome.known:
        parts.append(f"{outcome.known:,} signed before")
    if outcome.failed:
        parts.append(f"{len(outcome.failed):,} not signed, and left as they were")
    if len(outcome.failed) > NAMED or len(outcome.remarks) > NAMED:
        parts.append("--json lists all messages")
    return "; ".join(parts)


class _SigningProgress:
    """Reports now and then how many results are done."""

    def __init__(self, console: Console) -> None:
        self._console, self._last = console, time.monotonic()

    def tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _EVERY and done < total:
            self._last = now
            self._console.conclude(f"{done:,} of {plural(total, 'result')} done")
