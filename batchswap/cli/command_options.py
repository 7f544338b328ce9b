"""The options and the help of every command, in the order of a working day; `cli/commands` has what each does."""

from pathlib import Path
from typing import Literal

import click

from batchswap.cli import option_types as kinds
from batchswap.cli import options
from batchswap.cli.command import CommandOptions, argument, flag, log_as, option
from batchswap.states import State


class RunOptions(options.WorkOptions):
    """Enrol the rows of the manifests, work everything off, and resume whatever an earlier run left.

    Run the same command again after whatever happened: finished work costs nothing. "-" reads standard input.
    """

    command, summary = "run", "work off manifests, and resume what an earlier run left"
    if_running: str = option(
        type=click.Choice(["fail", "wait", "skip"]), default="fail", help="when another run holds the ledger"
    )
    backup: bool = option(
        "--backup/--no-backup",
        default=True,
        show_default=False,
        help="copy the ledger to FILE.bak when the run ends: about 1 GB for a million rows, at the speed of the disk",
    )
    dry_run: bool = flag("-n", "--dry-run", help="the same as plan")
    quiet: bool = flag("-q", "--quiet", help="only errors and the last line")
    log_format: str = option(
        type=click.Choice(["text", "json"]),
        default="text",
        is_eager=True,
        callback=log_as,
        help="of what goes to stderr",
    )
    no_progress: bool = flag(help="no live display and no line a minute")


class CheckOptions(
    options.ManifestsOptions,
    options.ReadingOptions,
    options.ProviderOptions,
    options.BaseUrlOptions,
    options.UploadOptions,
    options.DuplicatesOptions,
    options.JsonOptions,
):
    """Validate manifests without touching ledger or network; every error with file:line.

    With --media every input is looked at once, before anything is paid: files are opened, URLs are asked for (without
    the key, and only at addresses that the provider reaches), and where the local engine is installed, local face
    pictures must have a face. With --provider local, the engine also says of every file whether it would take it.
    With --db the ledger is read, too: rows whose inputs another batch has are errors.
    """

    command, summary = "check", "validate manifests without touching ledger or network"
    media: bool = flag(help="also open the files, ask for the URLs, and look for faces in local pictures")
    db: Path | None = option(type=options.FILE, metavar="FILE", help="also look into this ledger for rows paid already")


class PlanOptions(options.WorkOptions):
    """What a run would do: new, changed, unfinished, done, orphaned rows; estimated credits, requests and time.

    Nothing is charged and nothing is written.
    """

    command, summary = "plan", "what a run would do; nothing is charged"


class StatusOptions(options.LedgerOptions, options.OutOptions, options.JsonOptions):
    """Counts, credits, and what needs a person, per batch and in total; which result files are gone or changed.

    Results are looked for where they were stored, and below --out.
    """

    command, summary = "status", "counts, credits, and what needs a person, per batch"
    plot: Path | None = option(type=options.FILE, metavar="FILE", help="draw the last run into an SVG file")


class TasksOptions(options.LedgerOptions):
    """The tasks, one a line, in the order in which they came into the ledger."""

    command, summary = "tasks", "the tasks, one a line"
    state: tuple[str, ...] = option(
        type=click.Choice([str(each) for each in State]), multiple=True, default=(), show_default=False,
        help="only these; repeatable",
    )  # fmt: skip
    batch: str | None = option(metavar="NAME", help="only this batch")
    code: str | None = option(metavar="CODE", help="only with this reason code, such as 501")
    format: str = option(type=click.Choice(["table", "csv", "json", "jsonl"]), default="table", help="how")


class ShowOptions(options.LedgerOptions, options.JsonOptions):
    """One task: inputs, attempts, events, files. KEY is a task's key, or batch/key."""

    command, summary = "show", "one task: inputs, attempts, events, files"
    key: str = argument(metavar="KEY")


class RetryOptions(options.LedgerOptions, options.OutOptions):
    """Put failed tasks back into the queue; the next run takes them.

    What was paid for already (a download or a wait that was given up) is asked for again, not paid again. Tasks that
    were given up while uncertain are taken only by their KEY, or with --code given-up. A done task that is named is
    asked for again, too, when its file is missing below --out, or is no longer what was stored; --state done asks for
    all of those, wherever they were stored. What a variable or a
    file says of --code and --batch makes the choice smaller, and does not count beside a KEY.
    """

    command, summary = "retry", "put failed tasks back into the queue; the next run takes them"
    keys: tuple[str, ...] = argument(nargs=-1, metavar="[KEY]...")
    state: str = option(type=click.Choice(["failed", "cancelled", "done"]), default="failed", help="which tasks")
    code: str | None = option(metavar="CODE", help="only with this reason code, such as 501")
    batch: str | None = option(metavar="NAME", help="only of this batch")


class ResolveOptions(options.LedgerOptions, options.RateOptions):
    """A person's word on an uncertain task: it was accepted as ID; it was not, queue it again; leave it."""

    command, summary = "resolve", "a person's word on an uncertain task"
    key: str = argument(metavar="KEY")
    task_id: str | None = option(metavar="ID", help="it was accepted, as ID (the API is asked about it)")
    not_accepted: bool = flag(help="it was not accepted: queue it again")
    give_up: bool = flag(help="leave it, as failed")


class CancelOptions(options.LedgerOptions):
    """Queued tasks that are not to run. A failed task that is named is cancelled too, and counts no longer."""

    command, summary = "cancel", "queued tasks that are not to run"
    keys: tuple[str, ...] = argument(nargs=-1, metavar="[KEY]...")
    batch: str | None = option(metavar="NAME", help="all queued tasks of this batch; only as typed here")


class BalanceOptions(options.LedgerOptions, options.AccountOptions, options.JsonOptions):
    """Credits on the account."""

    command, summary = "balance", "credits on the account"


class FacesOptions(options.AccountOptions, options.UploadOptions, options.JsonOptions):
    """The faces that the API detects in a video or image: their ids, and a picture of each.

    The target is a URL or a file, which is uploaded. Look at the contact sheet, then name new faces by these ids in a
    manifest; --format yaml prints a row to fill in. Nothing is charged.
    """

    command, summary = "faces", "the faces that the API detects in a target, with ids and pictures"
    target: str = argument(metavar="VIDEO_OR_IMAGE")
    folder: Path = option(
        "--out", "--faces-folder", type=options.FOLDER, default=Path("faces"), metavar="DIR",
        help="where pictures and contact sheet go",
    )  # fmt: skip
    kind: Literal["video", "image"] | None = option(
        type=click.Choice(["video", "image"]), help="of the target; else by its ending"
    )
    format: str = option(type=click.Choice(["table", "yaml"]), default="table", help="of what is printed")


class ServeOptions(CommandOptions):
    """The local provider as a server speaking the API, until Ctrl-C.

    Prints what a shell needs to use it. The key is that of BATCHSWAP_SERVE_KEY; without one, a random key is made.
    Kinds of --fault: 429, 455, 500, 501, 505, lost (the answer to a submit), slow.
    """

    command, summary = "serve", "the local provider as a server speaking the API"
    host: str = option(default="127.0.0.1", metavar="HOST", help="address to listen on")
    port: int = option(type=click.IntRange(0, 65535), default=0, help="port to listen on; 0: any free one")
    folder: Path = option(type=options.FOLDER, default=Path("batchswap-local"), help="its tasks, uploads and results")
    rate: tuple[int, float] = option(
        type=kinds.RATE, default="none", help="requests per window and key, more are refused"
    )
    balance: float = option(type=kinds.CREDITS, default="100000", help="of a new account")
    fault: tuple[str, ...] = option(
        multiple=True, default=(), metavar="KIND:CHANCE", help="goes wrong on purpose: 429:0.1, slow:0.5:20, …"
    )
    allow_private: bool = flag(help="also fetch from private and link-local addresses, for anyone with the key")
    seed: int = option(type=int, default=0, help="of the dice that faults are drawn with")


class DoctorOptions(
    options.LedgerOptions, options.AccountOptions, options.OutOptions, options.SpaceOptions, options.JsonOptions
):
    """Key present, API reachable, ledger sound, disk space, local engine usable; says how to mend what is not."""

    command, summary = "doctor", "what keeps a run from working here, and how to mend it"


class BackupOptions(options.LedgerOptions):
    """Copy the ledger to FILE, consistently, also during a run.

    FILE may be an older copy, which is replaced when the new one is complete; no other file is. The copy is as large
    as the ledger: about 1 GB for a million rows. Before a restored copy is run, `batchswap rebuild` brings it up to
    what the submission log knows; a run refuses it until then.
    """

    command, summary = "backup", "a consistent copy of the ledger, also during a run"
    file: Path = argument(metavar="FILE", type=options.FILE)


class AdoptOptions(options.LedgerOptions, options.AccountOptions):
    """Attach tasks that are known to the API to rows of the ledger. It never submits.

    The API is asked about each task: it must know it, and have it for the row's inputs. The next run collects it
    without paying. Of a submission log, what was submitted with the inputs of a row is attached without a question.
    """

    command, summary = "adopt", "attach tasks that are known to the API; never submits"
    key: str | None = argument(metavar="[KEY]", required=False)
    task_id: str | None = argument(metavar="[TASK_ID]", required=False)
    source: Path | None = option(
        "--from", type=options.FILE, metavar="FILE",
        help="a CSV file with the columns key, task_id and optionally batch; or a submission log",
    )  # fmt: skip


class RebuildOptions(options.LedgerOptions, options.BaseUrlOptions, options.ReadingOptions):
    """Rebuild the ledger from manifests, the submission log and the results below --out. It never submits.

    Also repairs a ledger that is behind its log, in place: then no manifest need be named. What the log knows as
    accepted is asked for by the next run without paying, what may have been accepted is uncertain, and a result that
    is there is done. --base-url: what the log's keys are for, where the ledger does not know it.
    """

    command, summary = "rebuild", "a ledger from manifests, the submission log and results; never submits"
    manifests: tuple[str, ...] = argument(nargs=-1, metavar="[MANIFEST]...")


COMMANDS: tuple[type[CommandOptions], ...] = (
    RunOptions, CheckOptions, PlanOptions, StatusOptions, TasksOptions, ShowOptions, RetryOptions, ResolveOptions,
    CancelOptions, BalanceOptions, FacesOptions, ServeOptions, DoctorOptions, BackupOptions, AdoptOptions,
    RebuildOptions,
)  # fmt: skip
