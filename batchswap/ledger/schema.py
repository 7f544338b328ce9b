"""Define the ledger's tables in ordered steps. A released step is never edited; a change is a new step.

Readable columns hold no secrets: the query of an input's URL is stored in a separate BLOB, and so are media URLs.
"""

import secrets
import sqlite3
from contextlib import closing

from sqlite_utils import Database, Migrations

from batchswap.ledger.submission_log.position import new_id
from batchswap.states import State

steps = Migrations("batchswap")

_STATES = ", ".join(f"'{state}'" for state in State)


def _script(db: Database, sql: str) -> None:
    """Execute statements inside the step's transaction, which executescript would commit."""
    statement = ""
    for part in sql.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip("; \n"):
                db.execute(statement)
            statement = ""


@steps()
def m001_batches_and_tasks(db: Database) -> None:
    """Manifests, batches, their tasks, and how many of them stand in each state (kept by a trigger, never counted)."""
    _script(
        db,
        f"""
        create table meta(name text primary key, value blob not null) strict, without rowid;
        create table batches(
            id integer primary key, name text not null unique, generation integer not null default 0
        ) strict;
        create table sources(
            id integer primary key, batch_id integer not null references batches, path text not null,
            folder text not null, mark text not null default '', generation integer not null default 0,
            unique(batch_id, path)
        ) strict;
        create table tasks(
            id integer primary key,
            batch_id integer not null references batches,
            source_id integer not null references sources,
            key text not null,
            line integer not null,
            position integer not null,
            generation integer not null,
            state text not null default 'queued' check(state in ({_STATES})),
            model text not null,
            target text not null, target_query blob,
            face text not null, face_query blob,
            faces blob,
            digest text not null,
            output text not null,
            consent text not null default '',
            tags text not null default '',
            extra text not null default '',
            edited blob,
            attempts integer not null default 0,
            paid integer not null default 0,
            code text not null default '',
            reason text not null default '',
            file text, size integer, sha256 text, replaces text,
            changed_at real,
            unique(batch_id, key)
        ) strict;
        create index tasks_queued on tasks(batch_id, position) where state = 'queued';
        create index tasks_open on tasks(state) where state in ('submitting', 'running', 'fetching', 'uncertain');
        create index tasks_failed on tasks(code) where state = 'failed';
        create index tasks_edited on tasks(id) where edited is not null;
        create index tasks_output on tasks(output);
        create table tallies(
            batch_id integer not null, state text not null, n integer not null, primary key(batch_id, state)
        ) strict, without rowid;
        create trigger tasks_moved after update of state on tasks when old.state is not new.state begin
            update tallies set n = n - 1 where batch_id = old.batch_id and state = old.state;
            insert into tallies values(new.batch_id, new.state, 1) on conflict do update set n = n + 1;
        end
        """,
    )
    # What callback paths are derived from: never printed, never exported.
    db.execute("insert into meta values('secret', ?)", (secrets.token_bytes(32),))


_BOOKS = """
        insert into money
        select {side}.run_id, {side}.batch_id, {side}.day, {sign}{side}.spent, {sign}{side}.held, {sign}{side}.unpriced,
               {sign}({is_unpriced})
        where true
        on conflict do update set spent = spent + excluded.spent, held = held + excluded.held,
            unpriced = unpriced + excluded.unpriced, unpriced_attempts = unpriced_attempts + excluded.unpriced_attempts
    """
_RUNS_ATTEMPTS_AND_EVENTS = """
        create table runs(
            id integer primary key, started_at real not null, ended_at real, pid integer not null,
            version text not null, provider text not null, account text not null,
            exit_code integer, summary text
        ) strict;
        create table attempts(
            id integer primary key,
            task_id integer not null references tasks,
            batch_id integer not null,
            run_id integer not null references runs,
            number integer not null,
            ref text not null unique,
            state text not null,
            day text not null,
            reserved real not null,
            charged real,
            submitted_at real not null, accepted_at real, ended_at real,
            took real,
            remote_id text,
            account text not null,
            code text not null default '',
            reason text not null default '',
            media blob,
            balance_before real, balance_after real,
            spent real not null generated always as
                (case when state in ('succeeded', 'failed', 'lost') then coalesce(charged, 0.0) else 0.0 end),
            held real not null generated always as
                (case when state in ('open', 'accepted', 'unknown') then reserved else 0.0 end),
            unpriced real not null generated always as
                (case when state in ('succeeded', 'failed', 'lost', 'given-up') and charged is null
                 then reserved else 0.0 end),
            unique(task_id, number)
        ) strict;
        create index attempts_remote on attempts(remote_id) where remote_id is not null;
        create index attempts_took on attempts(id) where took is not null;
        create table money(
            run_id integer not null, batch_id integer not null, day text not null,
            spent real not null, held real not null, unpriced real not null, unpriced_attempts integer not null,
            primary key(run_id, batch_id, day)
        ) strict, without rowid;
        create index money_day on money(day);
        create index money_batch on money(batch_id);
        create table events(
            id integer primary key, at real not null, run_id integer, task_id integer, attempt_id integer,
            event text not null, state text not null default '', detail text not null default ''
        ) strict;
        create index events_task on events(task_id) where task_id is not null;
        create table traffic(
            run_id integer not null, at integer not null, kind text not null, n integer not null,
            primary key(run_id, at, kind)
        ) strict, without rowid;
        create table uploads(
            account text not null, digest text not null, file_url blob not null, uploaded_at real not null,
            primary key(account, digest)
        ) strict, without rowid
        """


@steps()
def m002_runs_attempts_and_events(db: Database) -> None:
    """What was tried, what it cost and what happened. `money` is kept by triggers from the attempts, never counted.

    held: reserved for attempts that may still be charged. unpriced: ended, and the API did not say what it cost.
    """
    _script(db, _RUNS_ATTEMPTS_AND_EVENTS)
    _keep_books(db, "{side}.unpriced > 0")


def _keep_books(db: Database, is_unpriced: str) -> None:
    """Create the triggers. `is_unpriced` is the condition that an attempt, `{side}`, counts as one without a price."""
    new = _BOOKS.format(side="new", sign="+", is_unpriced=is_unpriced.format(side="new"))
    old = _BOOKS.format(side="old", sign="-", is_unpriced=is_unpriced.format(side="old"))
    db.execute(f"create trigger attempts_begun after insert on attempts begin {new}; end")
    db.execute(
        f"create trigger attempts_moved after update of state, charged, reserved on attempts begin {old}; {new}; end"
    )


@steps()
def m003_detections_and_files(db: Database) -> None:
    """Faces found in a target, which hold for a while; and the files that rows name, as they were when enrolled."""
    _script(
        db,
        """
        create table detections(
            account text not null, digest text not null, url text not null, detect_id text not null,
            faces blob not null, detected_at real not null, primary key(account, digest)
        ) strict, without rowid;
        create table files(
            path text not null primary key, size integer not null, modified integer not null
        ) strict, without rowid
        """,
    )


@steps()
def m004_length_of_targets(db: Database) -> None:
    """Seconds of an attempt's target, where they are known: longer videos take longer."""
    db.execute("alter table attempts add column seconds real")


@steps()
def m005_ended_without_any_price(db: Database) -> None:
    """An attempt that the API priced neither before nor after counts as one without a price, too: it is not free."""
    is_unpriced = "{side}.state in ('succeeded', 'failed', 'lost', 'given-up') and {side}.charged is null"
    _script(
        db,
        f"""
        drop trigger attempts_begun;
        drop trigger attempts_moved;
        delete from money;
        insert into money
        select a.run_id, a.batch_id, a.day, sum(a.spent), sum(a.held), sum(a.unpriced),
               sum({is_unpriced.format(side="a")})
        from attempts a group by a.run_id, a.batch_id, a.day
        """,
    )
    _keep_books(db, is_unpriced)


@steps()
def m006_duplicates_and_places(db: Database) -> None:
    """What finds other tasks with the same inputs, and what their files and results were when they were used.

    `duplicates` is what was decided about a row whose inputs another task has; `reuses` is the task whose result it
    takes. `content` is the digest with local files by their content, and `inputs` those files, at the last submit.
    `stored_by` is the run that stored the result, below its `out`. The indexes have only what was submitted or reuses
    something, so that enrolling rows costs nothing more.
    """
    _script(
        db,
        """
        alter table tasks add column duplicates text not null default '';
        alter table tasks add column reuses integer;
        alter table tasks add column content text;
        alter table tasks add column stored_by integer;
        alter table runs add column out text not null default '';
        create index tasks_digest on tasks(digest) where paid > 0 or reuses is not null;
        create index tasks_content on tasks(content) where content is not null;
        create index tasks_reusing on tasks(batch_id) where state = 'queued' and reuses is not null;
        create table inputs(
            task_id integer not null, path text not null, size integer not null, modified integer not null,
            sha256 text not null, primary key(task_id, path)
        ) strict, without rowid
        """,
    )


@steps()
def m007_estimates_and_budgets(db: Database) -> None:
    """What an attempt was estimated at, to learn prices from; and the budgets of a run, to tell what exceeded them."""
    _script(
        db,
        """
        alter table attempts add column estimate real;
        create index attempts_charged on attempts(id) where charged is not null;
        alter table runs add column budget real;
        alter table runs add column budget_per_day real
        """,
    )


@steps()
def m008_submission_log(db: Database) -> None:
    """An id that every copy of this ledger has, and attempts that only the log of submits knows: `logged`.

    They wait for a row with their inputs, and are never submitted again.
    """
    _script(
        db,
        """
        create table logged(
            ref text not null primary key, batch text not null, key text not null, digest text not null,
            number integer not null, state text not null, remote_id text, account text not null,
            owner text not null, submitted_at real not null, reserved real not null, charged real
        ) strict, without rowid;
        create index logged_row on logged(batch, key)
        """,
    )
    db.execute("insert into meta values('ledger', ?)", (new_id(),))


@steps()
def m009_deliveries(db: Database) -> None:
    """The finding about each result: whether it is a swap, what shows it, and the user's review.

    `sha256` is the file that was examined, `evidence` is JSON, and `strip` names the picture that compares target and
    result. A task that leaves `done` loses its row.
    """
    _script(
        db,
        """
        create table deliveries(
            task_id integer primary key references tasks, batch_id integer not null, sha256 text not null,
            quality text not null, share real, score real, evidence blob not null, strip text not null default '',
            review text not null default '', note text not null default '', signed integer not null default 0,
            delivered_at real not null
        ) strict;
        create index deliveries_quality on deliveries(batch_id, quality, review);
        """,
    )
    db.execute(
        "create trigger deliveries_left after update of state on tasks when old.state = 'done' and new.state <> 'done'"
        " begin delete from deliveries where task_id = old.id; end"
    )


@steps()
def m010_releases(db: Database) -> None:
    """The releases that rows name: the file that proves each one, and when it was withdrawn. No person is named.

    `former_results` has the results that their tasks have lost, by a redo or an edited row. Their files may exist.
    """
    _script(
        db,
        """
        create table releases(
            reference text not null primary key, sha256 text, size integer, modified integer, withdrawn_at real
        ) strict, without rowid;
        create table former_results(
            id integer primary key, task_id integer not null references tasks, consent text not null,
            file text not null, size integer not null, sha256 text not null, out text not null, stored_at real not null
        ) strict;
        create index former_results_consent on former_results(consent)
        """,
    )
    db.execute(
        "create trigger results_lost after update of file on tasks"
        " when old.state = 'done' and old.file is not null and new.file is null begin"
        " insert into former_results(task_id, consent, file, size, sha256, out, stored_at) values(old.id, old.consent,"
        " old.file, old.size, old.sha256, coalesce((select out from runs where id = old.stored_by), ''),"
        " coalesce(old.changed_at, 0.0)); end"
    )


@steps()
def m011_signatures(db: Database) -> None:
    """The SHA-256 of a signed result as it was received. The file on the disk has that of its task.

    "": the result is not signed. The finding is about the received file.
    """
    _script(db, "alter table deliveries add column received_sha256 text not null default ''")


@steps()
def m012_totals(db: Database) -> None:
    """Sums over all runs that only grow: requests by kind and outcome, and the seconds that they took.

    Requests of earlier versions are "unrecorded": only their kind is known.
    """
    _script(
        db,
        """
        create table totals(
            name text not null, kind text not null, outcome text not null, value real not null,
            primary key(name, kind, outcome)
        ) strict, without rowid;
        insert into totals select 'requests', kind, 'unrecorded', sum(n) from traffic
        where kind in ('submit', 'poll', 'estimate', 'balance', 'upload', 'detect') group by kind
        """,
    )


@steps()
def m013_ticks(db: Database) -> None:
    """What a run was asked to do, and what ticks leave to the next one.

    `series` is the first of the ticks that share a budget, because they complete the same batches (`batches`, JSON).
    `refusals` is JSON. `polls` has the running tasks that a tick polled: when each was last found running, and since
    when and how often in a row the API did not know it.
    """
    _script(
        db,
        """
        alter table runs add column mode text not null default 'run';
        alter table runs add column batches text not null default '';
        alter table runs add column refusals text not null default '';
        alter table runs add column series integer;
        update runs set series = id;
        create index runs_series on runs(series);
        create table polls(
            attempt_id integer primary key references attempts, seen_at real, missing integer not null default 0,
            missing_since real
        ) strict
        """,
    )


def migrate(db: Database, version: int) -> None:
    """Update the ledger to this version. Each step is one transaction; after a crash, run the remaining steps."""
    steps.apply(db)
    db.execute(f"pragma user_version = {version}")


_OURS = "select type, name, sql from sqlite_master where name not like 'sqlite\\_%' escape '\\' and sql is not null"

_ORDER = ("table", "column", "index", "trigger", "view")


def missing(db: sqlite3.Connection) -> list[str]:
    """Return tables, columns, indexes and triggers that are missing or changed, such as "column tasks.size"."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        steps.apply(Database(model, execute_plugins=False))
        found = {(kind, name): sql for kind, name, sql in db.execute(_OURS)}
        gone = []
        for kind, name, sql in model.execute(_OURS).fetchall():
            if (kind, name) not in found:
                gone.append(f"{kind} {name}")
            elif kind == "table":
                gone += [f"column {name}.{column}" for column in _columns(model, name) - _columns(db, name)]
            elif found[kind, name] != sql:
                gone.append(f"{kind} {name}")
        return sorted(gone, key=lambda each: (_ORDER.index(each.partition(" ")[0]), each))


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {name for (name,) in db.execute("select name from pragma_table_info(?)", (table,))}
