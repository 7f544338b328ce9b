"""The morning's report as HTML: one file, or a folder if there are many tasks. Needs the extra `report`.

`write` is what `batchswap report` and `run --report` call; `check` tells beforehand whether it can succeed.
"""

import sqlite3
from pathlib import Path

import msgspec

from batchswap.ledger import page_queries, queries
from batchswap.ledger.deliveries import pictures_folder
from batchswap.report.page import facts, output_place, render
from batchswap.report.page.facts import Scope
from batchswap.report.page.output_place import DATA, INDEX
from batchswap.report.page.render import PageForm
from batchswap.report.page.strip_files import CopiedStrips, EmbeddedStrips, Pictures, StripChoice
from batchswap.report.page.task_cells import FileLinks, cells, embedded, pieces
from batchswap.settings import Settings

LARGEST_FILE = 2_000
"""Tasks of a page that is one file. With more, the page is a folder."""


class Written(msgspec.Struct, frozen=True):
    """A finished report. `page` is the file to open, `needs` the number of tasks that need the user."""

    page: Path
    tasks: int
    needs: int
    title: str
    is_folder: bool

    @property
    def words(self) -> str:
        """Return the place and the first words of the report."""
        return f"{self.page}: {self.title.rstrip('.')}"


def check(place: Path, ledger: Path) -> None:
    """Raise MissingExtra without Jinja or matplotlib, and UsageError for a place where no report can be written."""
    render.require()
    output_place.check(place, ledger)


def write(
    db: sqlite3.Connection,
    ledger: Path,
    place: Path,
    *,
    batches: tuple[str, ...] = (),
    run: str = "last",
    pictures: Pictures = "trouble",
    settings: Settings | None = None,
    out: Path | None = None,
) -> Written:
    """Write the report to `place`: a file that ends in .html, or a folder.

    `batches` must exist; none: those of the run. `run`: the number of a run, "last" or "all". `settings`: those of the
    run, if they are known. `out`: where to look for results that are not where they were stored. More than LARGEST_FILE
    tasks become a folder, named like the file without its ending. Raise MissingExtra and UsageError as `check` does.
    """
    check(place, ledger)
    # One transaction: the page of a run that is in progress shows one moment.
    db.execute("begin")
    try:
        scope = facts.scope_of(db, ledger, batches, run, out or (settings or Settings()).out)
        total = sum(queries.counts_in(db, scope.batches).values())
        others = page_queries.strips(db, scope.ids)[1]
        choice = StripChoice(pictures, others)
        with output_place.in_sentences(place):
            if output_place.is_file(place) and total <= LARGEST_FILE:
                return _write_file(db, scope, place, choice, settings)
            folder = output_place.folder_for(place)
            output_place.check(folder, ledger)
            return _write_folder(db, scope, folder, choice, settings)
    finally:
        db.execute("rollback")


def _write_file(
    db: sqlite3.Connection, scope: Scope, place: Path, choice: StripChoice, settings: Settings | None
) -> Written:
    total = sum(queries.counts_in(db, scope.batches).values())
    strips = EmbeddedStrips.choose(page_queries.tasks(db, scope.ids), choice, pictures_folder(scope.ledger))
    found = facts.gather(db, scope, strips.address, settings)
    links = FileLinks(place.absolute().parent, scope.out)
    rows = (cells(row, links, strips.address(row)) for row in page_queries.tasks(db, scope.ids))
    form = PageForm(total, choice.pictures, omitted=strips.omitted)
    output_place.write_file(place, render.page(found, scope, form, pieces(rows), strips.pieces()))
    return Written(place, total, found.verdict.needs, found.verdict.title, is_folder=False)


def _write_folder(
    db: sqlite3.Connection, scope: Scope, place: Path, choice: StripChoice, settings: Settings | None
) -> Written:
    total = sum(queries.counts_in(db, scope.batches).values())
    with output_place.new_folder(place) as folder:
        strips = CopiedStrips(pictures_folder(scope.ledger), folder, choice)
        links = FileLinks(place.absolute(), scope.out)
        (folder / DATA).mkdir(mode=0o700)
        rows = (cells(row, links, strips.address(row)) for row in page_queries.tasks(db, scope.ids))
        names = []
        for number, piece in enumerate(pieces(rows), 1):
            name = f"{DATA}/{number:04d}.js"
            text = f"batchswap.piece({number - 1}, {embedded(piece)});\n"
            output_place.write_file(folder / name, [text])
            names.append(name)
        found = facts.gather(db, scope, strips.address, settings)
        form = PageForm(total, choice.pictures, tuple(names))
        output_place.write_file(folder / INDEX, render.page(found, scope, form))
    return Written(place / INDEX, total, found.verdict.needs, found.verdict.title, is_folder=True)


__all__ = ["Pictures", "Written", "check", "write"]
