"""Turn the facts into HTML: one template, one style sheet and one script, without anything from the network."""

import base64
import hashlib
import time
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from batchswap import __version__
from batchswap.errors import MissingExtra
from batchswap.report.formatting import iso, moment, money, plural, priced, safe, span
from batchswap.report.next_commands import command
from batchswap.report.page.facts import Facts, Scope
from batchswap.report.page.strip_files import SAMPLE, Pictures
from batchswap.report.page.task_cells import FIELDS, embedded
from batchswap.states import DOUBTFUL, Quality, State

if TYPE_CHECKING:
    from jinja2 import Environment

MACROS = ("copyable", "when", "number")
"""The macros of the template. They are variables, because a section is also rendered alone."""
SECTIONS = ("verdict", "needs", "strips", "problems", "money", "timeline", "tasks", "compared", "rights", "colophon")
"""The blocks of the template, in their order on the page."""


class LivePart(msgspec.Struct, frozen=True):
    """The part of a page that is served by a program, which accepts actions: another script, and its data."""

    script: str
    data: dict[str, Any]


class PageForm(msgspec.Struct, frozen=True):
    """How a page gets its data. `pieces`: addresses of the tasks' files; empty if the tasks are in the page.

    `live`: None for a page that is a file (see "A live page" in the script).
    """

    total: int
    pictures: Pictures
    pieces: tuple[str, ...] = ()
    live: LivePart | None = None
    omitted: int = 0
    """Pictures for which a page of one file has no room."""


def require() -> None:
    """Raise MissingExtra if the page cannot be rendered."""
    from importlib.util import find_spec  # noqa: PLC0415 - seldom needed

    for name in ("jinja2", "matplotlib"):
        if find_spec(name) is None:
            raise MissingExtra("report", name)


@cache
def environment() -> "Environment":
    """Return the environment of the template. All values are escaped."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - an optional part
    except ImportError as error:
        raise MissingExtra("report", "jinja2") from error
    found = Environment(
        loader=PackageLoader("batchswap.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "money": money, "priced": priced, "moment": moment, "span": span, "plural": plural, "iso": iso,
        "safe_line": safe, "json": _json,
    }  # fmt: skip
    return found


def _json(value: Any) -> Any:
    from markupsafe import Markup  # noqa: PLC0415 - comes with Jinja

    return Markup(embedded(value))  # noqa: S704 - `embedded` ends no element


def page(
    facts: Facts, scope: Scope, form: PageForm, pieces: Iterable[Any] = (), strips: Iterable[Any] = ()
) -> Iterator[str]:
    """Yield the page. `pieces` and `strips` are embedded, one after the other."""
    return (
        environment()
        .get_template("page.html")
        .generate(**context(facts, scope, form), pieces=pieces, strips=enumerate(strips))
    )


def sections(facts: Facts, scope: Scope, form: PageForm) -> dict[str, str]:
    """Return the HTML of the sections by name, to replace those of a page that is open."""
    template = environment().get_template("page.html")
    values = template.new_context({**context(facts, scope, form), "pieces": (), "strips": ()})
    return {name: "".join(template.blocks[name](values)).strip() for name in SECTIONS}


def context(facts: Facts, scope: Scope, form: PageForm) -> dict[str, Any]:
    """Return the variables of the template."""
    style, script = _source("page.css"), _source("page.js")
    now = time.time()
    macros: Any = environment().get_template("macros.html").module
    return {
        **{name: getattr(macros, name) for name in MACROS},
        "facts": facts,
        "scope": scope,
        "form": form,
        "made_at": now,
        "version": __version__,
        "sample": SAMPLE,
        "quality_words": {str(each): each.words for each in Quality},
        "doubtful": [str(each) for each in DOUBTFUL],
        "style": style,
        "script": script,
        "policy": policy(style, script, form),
        "data": {
            "fields": FIELDS,
            "pieces": form.pieces,
            "total": form.total,
            "live": form.live is not None,
            "states": [str(state) for state in State],
            "doubtful": [str(each) for each in DOUBTFUL],
            "qualities": {str(each): each.words for each in Quality},
            "batches": [safe(name) for name in scope.batches],
            "options": command("", scope.ledger).removeprefix("batchswap ").strip(),
            "money": msgspec.to_builtins({table.group: table.rows for table in facts.money.tables}),
        },
    }


def policy(style: str, script: str, form: PageForm) -> str:
    """Return the Content-Security-Policy: nothing but this style, this script, and local pictures and videos.

    A page in a folder also loads its data: by scripts that its own script adds, and no others.
    """
    more = " 'strict-dynamic'" if form.pieces else ""
    if form.live is not None:
        more = f" '{_hash(form.live.script)}'{more}"
    connect = "'self'" if form.live is not None else "'none'"
    return (
        f"default-src 'none'; script-src '{_hash(script)}'{more}; style-src '{_hash(style)}';"
        f" img-src data: 'self' file:; media-src 'self' file:;"
        f" connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _source(name: str) -> str:
    return files("batchswap.report.page").joinpath("templates", name).read_text(encoding="utf-8")
