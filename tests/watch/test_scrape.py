"""`/metrics` of `batchswap watch`: for scrapers, in the format that they accept, and for no one else."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser.nights import Night
from tests.metrics.parsed import OPEN_METRICS, WITHOUT_EXTRA, parse, scraped
from tests.watch.conftest import SECRET, Watched, watching

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.2"
)
"""The Accept header that Prometheus 3 sends, without the binary format."""


def test_a_scraper_gets_the_metrics_of_the_ledger(watched: Watched) -> None:
    status, headers, text = watched.ask("/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert parse(text).lasting == scraped(watched.folder / "batchswap.db").lasting
    assert SECRET.encode() not in text


@pytest.mark.parametrize("accept", [OPEN_METRICS, PROMETHEUS])
def test_a_scraper_that_accepts_open_metrics_gets_that(watched: Watched, accept: str) -> None:
    status, headers, text = watched.ask("/metrics", Accept=accept)
    assert (status, headers["content-type"].split(";")[0]) == (200, "application/openmetrics-text")
    assert parse(text, is_open=True).sum("tasks") == 60.0


def test_the_guard_of_the_page_is_that_of_the_metrics(watched: Watched) -> None:
    assert watched.ask("/metrics", Host="evil.example")[0] == 403
    assert watched.ask("/metrics", Origin="http://evil.example")[0] == 403
    assert watched.ask("/metrics", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="script")[0] == 403
    assert watched.ask("/metrics", "POST", b"")[0] == 403


def test_before_the_first_run_there_is_little_to_tell(tmp_path: Path) -> None:
    with watching(tmp_path) as server:
        status, _, text = server.ask("/metrics")
        assert status == 200
        assert parse(text).names == {"batchswap_build_info", "batchswap_metrics_timestamp_seconds"}
        assert not (tmp_path / "batchswap.db").exists()


def test_a_ledger_that_cannot_be_read_is_an_error_of_the_server(tmp_path: Path) -> None:
    ledger = Night(tmp_path, 5).write()
    with watching(tmp_path) as server:
        ledger.write_bytes(b"no ledger" * 1000)
        status, words = server.words("/metrics")
        assert (status, "is not a batchswap ledger" in words) == (503, True)


def test_without_the_extra_the_page_works_and_the_metrics_name_it(tmp_path: Path) -> None:
    Night(tmp_path, 5).write()
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "sitecustomize.py").write_text(WITHOUT_EXTRA)
    with watching(tmp_path, modules=tmp_path / "modules") as server:
        status, words = server.words("/metrics")
        assert (status, "pip install 'batchswap[metrics]'" in words) == (501, True)
        assert server.ask("/")[0] == 200


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Watched, str]]:
    """Return a server that other machines can reach, and its token."""
    folder = tmp_path_factory.mktemp("public")
    Night(folder, 10).write()
    with watching(folder, "--host", "0.0.0.0") as server:
        parts = urlsplit(server.address)
        yield Watched(folder, f"http://127.0.0.1:{parts.port}/", server.process), parts.query.removeprefix("token=")


def test_beyond_this_machine_a_scraper_needs_the_token(public: tuple[Watched, str]) -> None:
    server, token = public
    for given in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {token}"}, {"Authorization": token}):
        assert server.ask("/metrics", "GET", None, **given)[0] == 403
    assert server.ask(f"/metrics?token={token}")[0] == 403
    status, _, text = server.ask("/metrics", Authorization=f"Bearer {token}")
    assert (status, parse(text).sum("tasks")) == (200, 10.0)
    assert server.ask("/metrics", Authorization=f"bearer {token}")[0] == 200
    assert server.ask("/metrics", Authorization=f"Bearer {token}", Host="evil.example")[0] == 403


@pytest.mark.parametrize("path", ["/", "/events", "/data/0-1.js", "/result/1", "/original/1", "/metrics/", "//metrics"])
def test_the_header_opens_nothing_but_the_metrics(public: tuple[Watched, str], path: str) -> None:
    server, token = public
    assert server.ask(path, Authorization=f"Bearer {token}")[0] == 403
    assert token not in (server.folder / "watch.log").read_text()
