"""The options and the help text of every command, in the order of a working day. `cli/commands` has the functions."""

from pathlib import Path
from typing import Literal

import click

from batchswap.cli import option_types as kinds
from batchswap.cli import options
from batchswap.cli.command import CommandOptions, argument, flag, log_as, option
from batchswap.cli.completion import ledger_values
from batchswap.cli.result_options import (
    ConsentOptions,
    ReportOptions,
    ReviewOptions,
    SignOptions,
    VerifyOptions,
    WatchOptions,
)
from batchswap.cli.unattended_options import MessageOptions, MetricsOptions, NotifyOptions
from batchswap.states import ADOPTABLE, Quality, Review, State


class RunOptions(
    options.WorkOptions,
    options.SigningOptions,
    options.PicturesOptions,
    options.TickOptions,
    MessageOptions,
    MetricsOptions,
):
    """Run the face swaps that the manifests list, one result file for each row.

    To resume after an interruption, an error or a crash, run the same command again: finished tasks are neither
    repeated nor paid for again. MANIFEST is a CSV, YAML, JSON or .xlsx file; "-" reads standard input.
    """

    command, summary = "run", "run the swaps that manifests list, or resume an earlier run"
    heading = "Output"
    if_running: str = option(
        type=click.Choice(["fail", "wait", "skip"]),
        default="fail",
        heading="Where",
        help="when another run uses the ledger: exit 75, wait until it ends, or exit 0",
    )
    backup: bool = option(
        "--backup/--no-backup",
        default=True,
        show_default=False,
        help="copy the ledger to FILE.bak at the end, about 1 GB for a million rows  [default: --backup]",
    )
    report: Path | None = option(
        type=options.PLACE, metavar="FILE.html|DIR", help="write the report at the end, as `batchswap report` does"
    )
    dry_run: bool = flag("-n", "--dry-run", help="only show what a run would do, as `batchswap plan` does")
    quiet: bool = flag("-q", "--quiet", help="show only warnings, errors and the last line")
    log_format: str = option(
        type=click.Choice(["text", "json"]),
        default="text",
        is_eager=True,
        callback=log_as,
        help="format of the messages on stderr",
    )
    no_progress: bool = flag(help="show neither the live display nor a progress line a minute")


class CheckOptions(
    options.ManifestsOptions,
    options.ReadingOptions,
    options.RegisterOptions,
    options.ProviderOptions,
    options.BaseUrlOptions,
    options.ProxyOptions,
    options.UploadOptions,
    options.FetchOptions,
    options.DuplicatesOptions,
    options.JsonOptions,
):
    """Find mistakes in manifests and report each one with its file and line.

    Nothing is sent and no ledger is read, except with these options:

    \b
    --media         Open every file, request every URL (without the API key)
                    and look for faces in local face pictures and targets, if
                    the local engine is installed. A target without a face is
                    an error. With --provider local, so is a target that the
                    engine cannot read.
    --fetch SIZE    With --media, also download targets that are URLs.
    --db FILE       Read the ledger too. A row is an error if another batch
                    has one with the same inputs (see --duplicates).
    """

    command, summary = "check", "find mistakes in manifests before anything is sent"
    media: bool = flag(help="also open the files, request the URLs and look for faces in local files")
    db: Path | None = option(
        type=options.FILE, metavar="FILE", help="also find rows that this ledger has in another batch"
    )


class PlanOptions(options.WorkOptions):
    """Show what a run would do: which rows are new, changed, unfinished or done, and how many credits, requests and
    how much time it would take, as estimates. Nothing is charged and nothing is written.
    """

    command, summary = "plan", "show what a run would do and cost; nothing is charged"


class StatusOptions(options.LedgerOptions, options.OutOptions, options.JsonOptions):
    """Show the tasks by state and the credits, for each batch and in total, and what needs your decision.

    Result files that are missing or changed are listed too. They are looked for where they were saved and in --out.
    """

    command, summary = "status", "show what is done, what it cost and what needs you"
    plot: Path | None = option(type=options.FILE, metavar="FILE", help="draw the last run as an SVG file")


class TasksOptions(options.LedgerOptions):
    """List the tasks, one per line, in the order in which they were added to the ledger."""

    command, summary = "tasks", "list the tasks, one per line"
    state: tuple[str, ...] = option(
        type=click.Choice([str(each) for each in State]), multiple=True, default=(), show_default=False,
        help="only tasks in this state; repeatable",
    )  # fmt: skip
    batch: str | None = option(metavar="NAME", shell_complete=ledger_values.batches, help="only tasks of this batch")
    code: str | None = option(
        metavar="CODE", shell_complete=ledger_values.codes, help="only tasks with this reason code, such as 501"
    )
    consent: str | None = option(
        metavar="REF", shell_complete=ledger_values.releases, help="only tasks under this release"
    )
    quality: tuple[str, ...] = option(
        type=click.Choice([*map(str, Quality), "doubtful"]), multiple=True, default=(), show_default=False,
        help="only results of this quality; repeatable; doubtful: those that need your review",
    )  # fmt: skip
    review: str | None = option(
        type=click.Choice([str(Review.ACCEPTED), str(Review.REJECTED), "none"]),
        help="only results that were judged so, or not at all",
    )
    format: str = option(type=click.Choice(["table", "csv", "json", "jsonl"]), default="table", help="output format")


class ShowOptions(options.LedgerOptions, options.JsonOptions):
    """Show one task: its inputs, attempts, events and files. KEY is the task's key, or BATCH/KEY."""

    command, summary = "show", "show one task: its inputs, attempts, events and files"
    key: str = argument(metavar="KEY", shell_complete=ledger_values.keys())


class RetryOptions(options.LedgerOptions, options.OutOptions):
    """Put failed tasks back into the queue; the next run takes them. Without KEY, all failed tasks are put back.

    A task is not paid for again if its attempt was paid for and only the wait or the download failed: the next run
    requests that result again. Tasks that you gave up on while they were uncertain may already be paid, so they are
    put back only if you name their KEY or give --code given-up.

    A done task whose result file is missing or changed can be downloaded again: name its KEY to look in --out, or give
    --state done for every such task, wherever its result was saved.
    """

    command, summary = "retry", "put failed tasks back into the queue for the next run"
    keys: tuple[str, ...] = argument(nargs=-1, metavar="[KEY]...", shell_complete=ledger_values.keys())
    state: str = option(
        type=click.Choice(["failed", "cancelled", "done"]), default="failed", help="which tasks to put back"
    )
    code: str | None = option(
        metavar="CODE", shell_complete=ledger_values.codes, help="only tasks with this reason code, such as 501"
    )
    batch: str | None = option(metavar="NAME", shell_complete=ledger_values.batches, help="only tasks of this batch")


class ResolveOptions(options.LedgerOptions, options.ProxyOptions, options.RateOptions):
    """Decide what became of an uncertain task, one whose submit got no clear answer.

    `batchswap show KEY` has the evidence; the task list on your account's page at the API shows whether the task was
    accepted. Then give one of --task-id, --not-accepted and --give-up.
    """

    command, summary = "resolve", "decide what became of an uncertain task"
    key: str = argument(metavar="KEY", shell_complete=ledger_values.keys(State.UNCERTAIN))
    task_id: str | None = option(
        metavar="ID", help="it was accepted with this task id, which the API is asked to confirm"
    )
    not_accepted: bool = flag(help="it was not accepted: submit it again in the next run")
    give_up: bool = flag(help="leave it unresolved, as a failed task")


class CancelOptions(options.LedgerOptions):
    """Cancel queued tasks, so that no run submits them. Name the tasks, or give --batch for all queued ones of a batch.

    A failed task that you name is cancelled too, and no longer makes runs end with exit 3.
    """

    command, summary = "cancel", "take tasks out of the queue"
    keys: tuple[str, ...] = argument(
        nargs=-1, metavar="[KEY]...", shell_complete=ledger_values.keys(State.QUEUED, State.FAILED)
    )
    batch: str | None = option(
        metavar="NAME",
        shell_complete=ledger_values.batches,
        help="all queued tasks of this batch (on the command line only)",
    )


class BalanceOptions(options.LedgerOptions, options.AccountOptions, options.JsonOptions):
    """Show the credits on the account."""

    command, summary = "balance", "show the credits on the account"


class FacesOptions(options.AccountOptions, options.UploadOptions, options.JsonOptions):
    """Detect the faces in a video or image, and save a picture of each with its id. Nothing is charged.

    VIDEO_OR_IMAGE is a URL or a file, which is uploaded. Find the ids on the contact sheet and name a new face for each
    in a manifest; --format yaml prints a row to fill in.
    """

    command, summary = "faces", "detect the faces in a video or image, with ids and pictures"
    target: str = argument(metavar="VIDEO_OR_IMAGE", shell_complete=ledger_values.files)
    folder: Path = option(
        "--out", "--faces-folder", type=options.FOLDER, default=Path("faces"), metavar="DIR",
        help="folder for the pictures and the contact sheet",
    )  # fmt: skip
    kind: Literal["video", "image"] | None = option(
        type=click.Choice(["video", "image"]), help="kind of the target  [default: by its name]"
    )
    format: str = option(type=click.Choice(["table", "yaml"]), default="table", help="output format")


class ServeOptions(CommandOptions):
    """Run the local provider as a server that speaks the API of CRUN, until Ctrl-C.

    It prints the two variables that other shells need to use it. Its API key is the value of BATCHSWAP_SERVE_KEY, or
    a random one.

    With --fault it fails on purpose, for tests: 429, 455, 500, 501 and 505 are answers with that code, lost drops the
    answer to a submit, and slow delays answers by some seconds.
    """

    command, summary = "serve", "run the local provider as a server that speaks the API"
    host: str = option(default="127.0.0.1", metavar="HOST", help="address to listen on")
    port: int = option(
        type=click.IntRange(0, 65535),
        metavar="PORT",
        default=0,
        help="port to listen on; 0 takes any free one",
    )
    folder: Path = option(
        type=options.FOLDER, metavar="DIR", default=Path("batchswap-local"), help="folder for its tasks and files"
    )
    rate: tuple[int, float] = option(type=kinds.RATE, default="none", help="maximum requests per period and key")
    balance: float = option(type=kinds.CREDITS, default="100000", help="credits of a new account")
    fault: tuple[str, ...] = option(
        multiple=True,
        default=(),
        metavar="KIND:CHANCE",
        help="fail on purpose with this chance: 429:0.1, slow:0.5:20 (seconds); repeatable",
    )
    allow_private: bool = flag(help="also download inputs from private addresses, for anyone with the key")
    seed: int = option(type=int, metavar="N", default=0, help="seed of the random choice of faults")


class DoctorOptions(
    options.LedgerOptions,
    options.AccountOptions,
    options.OutOptions,
    options.SpaceOptions,
    options.KeysOptions,
    options.JsonOptions,
):
    """Check everything that a run needs: the clock, the ledger, the submission log, disk space, the proxy, trusted
    certificates, the API key, the connection to the API, the local engine, whether results can be examined, and with
    --sign the signing keys. For each problem, show how to repair it.
    """

    command, summary = "doctor", "find what would stop a run here, and how to repair it"


class BackupOptions(options.LedgerOptions):
    """Copy the ledger to FILE. The copy is consistent, also during a run.

    An older copy in FILE is replaced when the new one is complete; any other file is left alone. The copy is as large
    as the ledger: about 1 GB for a million rows. After restoring a copy, run `batchswap rebuild` first: it adds what
    was submitted since the copy was made. Without it, a run refuses to start.
    """

    command, summary = "backup", "copy the ledger, also during a run"
    package = "batchswap.cli.commands.recovery"
    file: Path = argument(metavar="FILE", type=options.FILE)


class AdoptOptions(options.LedgerOptions, options.AccountOptions):
    """Attach tasks that the API already has to rows of the ledger. The next run collects their results without paying.
    This command never submits.

    Give a KEY and its TASK_ID, or --from FILE with many of them. The API must know each task and have it for the
    inputs of the row. With a submission log, what was submitted with the inputs of a row is attached without asking
    the API.
    """

    command, summary = "adopt", "attach tasks that the API already has; never submits"
    package = "batchswap.cli.commands.recovery"
    key: str | None = argument(
        metavar="[KEY]",
        required=False,
        shell_complete=ledger_values.keys(*ADOPTABLE),
    )
    task_id: str | None = argument(metavar="[TASK_ID]", required=False)
    source: Path | None = option(
        "--from", type=options.FILE, metavar="FILE",
        help="a CSV file with the columns key, task_id and optionally batch; or a submission log",
    )  # fmt: skip


class RebuildOptions(options.LedgerOptions, options.BaseUrlOptions, options.ReadingOptions):
    """Rebuild a lost ledger from the manifests, the submission log and the results in --out. This command never
    submits.

    Without manifests it repairs the existing ledger --db, an older copy that lacks what was submitted later.

    Tasks that the log shows as accepted are collected by the next run without paying; tasks that may have been accepted
    become uncertain; tasks whose result is in --out are done. Give --base-url if the tasks were submitted to another
    API than the default one.
    """

    command, summary = "rebuild", "rebuild a lost or outdated ledger; never submits"
    package = "batchswap.cli.commands.recovery"
    manifests: tuple[str, ...] = argument(nargs=-1, metavar="[MANIFEST]...", shell_complete=ledger_values.files)


def _complete_topic(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    from batchswap.cli.topics import topics

    return [name for name in topics() if name.startswith(typed)]


class GuideOptions(CommandOptions):
    """Show the documentation: the guide, or one topic of it. Without TOPIC, the topics are listed first."""

    command, summary = "guide", "show the documentation: a guide, a reference, the design"
    topic: str | None = argument(metavar="[TOPIC]", required=False, shell_complete=_complete_topic)


COMMANDS: tuple[type[CommandOptions], ...] = (
    RunOptions, CheckOptions, PlanOptions, StatusOptions, TasksOptions, ShowOptions, RetryOptions, ReviewOptions,
    SignOptions, ConsentOptions, ResolveOptions, CancelOptions, BalanceOptions, FacesOptions, ServeOptions,
    DoctorOptions, VerifyOptions, BackupOptions, AdoptOptions, RebuildOptions, ReportOptions, WatchOptions,
    NotifyOptions, GuideOptions,
)  # fmt: skip
