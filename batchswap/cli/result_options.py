"""The options and the help text of the commands about results: review, sign, verify, consent, report, watch."""

from pathlib import Path

import click

from batchswap.cli import option_types as kinds
from batchswap.cli import options
from batchswap.cli.command import argument, flag, option
from batchswap.cli.completion import ledger_values
from batchswap.states import State


class ReviewOptions(options.LedgerOptions, options.OutOptions):
    """Judge results: give one of --accept, --reject, --reset and --redo, and the tasks. No file is ever deleted.

    The file of a rejected result moves to rejected/ in the folder that it was stored in; --accept and --reset move it
    back. These three are free, and possible during a run.

    --redo rejects a result, too, and the next run makes another one, which costs credits again. It shows the probable
    price and asks before anything changes. It is not possible during a run.
    """

    command, summary = "review", "accept or reject results, or redo them for credits"
    package = "batchswap.cli.commands.results"
    keys: tuple[str, ...] = argument(
        nargs=-1, required=True, metavar="KEY...", shell_complete=ledger_values.keys(State.DONE)
    )
    accept: bool = flag(help="these results are good")
    reject: bool = flag(help="these results are bad")
    reset: bool = flag(help="take back an earlier --accept or --reject")
    redo: bool = flag(help="these results are bad: pay for another attempt")
    note: str = option(
        default="", show_default=False, metavar="TEXT", help="your reason, which `show` and the report repeat"
    )
    yes: bool = flag("-y", "--yes", help="queue --redo without the question (on the command line only)")


class ConsentOptions(options.LedgerOptions, options.OutOptions, options.JsonOptions):
    """Withdraw a release, so that no run submits a row under it any more. REF is what rows name as their consent.

    withdraw cancels the queued tasks under the release, and lists every result with its files. Tasks in progress are
    paid for: a run collects them, and the next withdraw lists them. It is safe to repeat the command.

    --delete deletes the listed files and the pictures of these results, after a question. Copies elsewhere, reports and
    what the API keeps are not found.

    restore takes a withdrawal back. Neither is possible during a run.
    """

    command, summary = "consent", "withdraw a release: list its results, or delete them"
    package = "batchswap.cli.commands.results"
    action: str = argument(type=click.Choice(["withdraw", "restore"]), metavar="withdraw|restore")
    reference: str = argument(metavar="REF", shell_complete=ledger_values.releases)
    delete: bool = flag(help="delete the files of the results for good (on the command line only)")
    yes: bool = flag("-y", "--yes", help="delete without the question (on the command line only)")


class VerifyOptions(options.LedgerOptions, options.OutOptions, options.ProxyOptions, options.JsonOptions):
    """Compare result files with the ledger: size, SHA-256 and signature. Without PATH, all results are compared, also
    rejected ones. Where there is no ledger, files are verified by their signature alone.

    With files or folders, the results that belong there are compared, and files that the ledger does not know are
    named. Each wrong file is one line on stdout, and the exit code is then 3. No file is changed.

    --score also examines whether results without a finding are swaps, such as those of an earlier version.
    """

    command, summary = "verify", "compare result files with the ledger"
    package = "batchswap.cli.commands.results"
    paths: tuple[Path, ...] = argument(nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
    score: bool = flag(help="examine the results that have no finding yet")
    root: Path | None = option(type=options.FILE, metavar="FILE", help="also trust the signatures of this root.pem")


class SignOptions(
    options.LedgerOptions, options.OutOptions, options.ProxyOptions, options.SigningOptions, options.JsonOptions
):
    """Sign results that are on the disk with C2PA, such as those of an older ledger. Nothing is asked of the API.

    RESULT is the key of a task or the path of its file; without RESULT, all unsigned results are signed. Files are
    labelled first, so that the signature covers the label. The command is not possible during a run. It is safe to
    repeat it: a result is signed once.

    `batchswap sign init DIR` makes keys for use in-house: a root certificate, a certificate for signing and its key.
    Programs of strangers show an unknown signer, unless you bring a certificate that they trust: `batchswap guide
    provenance`.
    """

    command, summary = "sign", "sign results on the disk, or make the keys for it"
    package = "batchswap.cli.commands.results"
    results: tuple[str, ...] = argument(
        nargs=-1, metavar="[init DIR | RESULT...]", shell_complete=ledger_values.results
    )
    name: str = option(
        default="batchswap", metavar="NAME", help="your organisation's name in the certificates that `init` makes"
    )


class ReportOptions(options.LedgerOptions, options.OutOptions, options.PicturesOptions):
    """Write the morning's report as HTML: what happened, what needs you, the results before and after, money, time and
    rights. Without BATCH, it covers the batches of the run.

    The report needs no network and no server. It is one file for up to 2,000 tasks, and a folder with index.html for
    more, or if -o names a folder. An earlier report in the same place is replaced, and nothing else. Results are looked
    for where they were saved and in --out.
    """

    command, summary = "report", "write the morning's report as an HTML page"
    package = "batchswap.cli.commands.results"
    batches: tuple[str, ...] = argument(nargs=-1, metavar="[BATCH]...", shell_complete=ledger_values.batches)
    place: Path = option(
        "-o", "--output", type=options.PLACE, default=Path("report.html"), metavar="FILE.html|DIR",
        help="where to write the report",
    )  # fmt: skip
    run: str = option(type=kinds.RUN, default="last", metavar="N|last|all", help="the run that it covers, or all runs")
    open: bool = flag(help="open the report in the browser")


class WatchOptions(options.LedgerOptions, options.OutOptions):
    """Show the report as a live page in the browser, during a run, after it, or before the first one. Ctrl-C ends it.

    The page has buttons to accept, reject, redo, retry, resolve and cancel, which do the same as these commands. This
    command never submits and needs no API key.

    Only this machine can open the page. With another --host, other machines can, with the token in the printed address.
    The connection is not encrypted.
    """

    command, summary = "watch", "show the report as a live page in the browser"
    package = "batchswap.cli.commands.results"
    host: str = option(default="127.0.0.1", metavar="HOST", help="address to listen on")
    port: int = option(
        type=click.IntRange(0, 65535),
        metavar="PORT",
        default=0,
        help="port to listen on; 0 takes any free one",
    )
