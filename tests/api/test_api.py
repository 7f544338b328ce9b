"""The Python API runs, plans and reads like the commands and prints nothing, and its page is correct."""

import asyncio
import importlib
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import batchswap
from batchswap.errors import AccountRefused, LedgerBusy, LedgerError, ManifestErrors, UsageError
from batchswap.ledger.file.lock import hold
from tests.cli.conftest import Place, _server, call, place, shop  # noqa: F401
from tests.cli.quick import KEY
from tests.waits import until

PAGE = (Path(batchswap.__file__).parent / "docs" / "python-api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def fast(**values: Any) -> batchswap.Settings:
    """Settings for the server of the test."""
    return batchswap.Settings(base_url=os.environ["CRUN_BASE_URL"], rate_limit=None, score=False, label=False, **values)


@pytest.fixture
def manifest(shop: Place) -> str:  # noqa: F811
    return shop.manifest("spring.csv", 2)


def test_a_run_returns_its_summary_and_prints_nothing(manifest: str, capfd: pytest.CaptureFixture[str]) -> None:
    summary = batchswap.run(manifest, settings=fast())
    assert (summary.exit_code, summary.counts["done"], summary.batch) == (0, 2, ["spring"])
    assert sorted(path.name for path in Path("results/spring").iterdir()) == ["r0.mp4", "r1.mp4"]
    assert Path("batchswap.db.bak").exists()
    assert capfd.readouterr() == ("", "")
    again = batchswap.run(Path(manifest), settings=fast())
    assert (again.exit_code, sum(again.requests.values())) == (0, 0)


def test_a_command_finishes_the_run_of_a_program(manifest: str) -> None:
    summary = batchswap.run([manifest], settings=fast(limit=1), backup=False)
    assert (summary.exit_code, summary.counts["done"], summary.counts["queued"]) == (0, 1, 1)
    assert not Path("batchswap.db.bak").exists()
    done = call("run", manifest, "--rate", "none")
    assert (done.exit_code, batchswap.run(manifest, settings=fast()).counts["done"]) == (0, 2)


def test_messages_go_to_the_logger(manifest: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "batchswap"):
        batchswap.run(manifest, settings=fast())
    assert "spring: 2 rows, 2 new, 0 changed" in caplog.messages
    assert KEY not in caplog.text


def test_a_key_can_be_passed_and_is_checked_as_the_users_is(manifest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRUN_API_KEY")
    with pytest.raises(AccountRefused, match="there is no API key"):
        batchswap.run(manifest, settings=fast())
    with pytest.raises(AccountRefused, match="the API key in the api_key argument is malformed") as caught:
        batchswap.run(manifest, settings=fast(), api_key="a secret")
    assert "secret" not in str(caught.value)
    assert batchswap.run(manifest, settings=fast(), api_key=KEY).exit_code == 0


@pytest.mark.parametrize("name", ["run", "plan"])
def test_a_running_loop_is_refused_with_the_call_that_works(name: str) -> None:
    async def notebook() -> None:
        with pytest.raises(UsageError, match=f"await batchswap.{name}_async"):
            getattr(batchswap, name)("spring.csv")

    asyncio.run(notebook())


def test_a_notebook_awaits_and_its_loop_stays_free(manifest: str) -> None:
    async def notebook() -> int:
        turns = 0
        running = asyncio.ensure_future(batchswap.run_async(manifest, settings=fast()))

        def is_done() -> bool:
            nonlocal turns
            turns += 1
            return running.done()

        await until(is_done, "the end of the run")
        assert (await running).exit_code == 0
        return turns

    assert asyncio.run(notebook()) > 2


def test_a_ledger_that_another_run_holds_is_refused(manifest: str) -> None:
    with hold(Path("batchswap.db"), wait=False), pytest.raises(LedgerBusy):
        batchswap.run(manifest, settings=fast())
    assert not Path("batchswap.db").exists()


def test_rows_that_another_batch_has_done_are_refused_with_the_setting_that_helps(manifest: str) -> None:
    batchswap.run(manifest, settings=fast())
    Path("other.csv").write_text(Path(manifest).read_text())
    with pytest.raises(UsageError, match=r'other.csv:2: r0 has the inputs of spring/r0(.|\n)*duplicates="reuse"'):
        batchswap.run("other.csv", settings=fast())
    reused = batchswap.run("other.csv", settings=fast(duplicates="reuse"))
    assert (reused.counts["done"], reused.requests["submit"]) == (2, 0)


def test_a_plan_charges_and_writes_nothing(manifest: str) -> None:
    plan = batchswap.plan(manifest, settings=fast())
    assert sum(plan.work.submits.values()) == 2
    assert plan.to_json()["batch"] == ["spring"]
    assert not Path("batchswap.db").exists()


def test_an_invalid_manifest_names_its_lines(manifest: str) -> None:
    Path("bad.csv").write_text("id,video,face\na,,face.png\n")
    with pytest.raises(ManifestErrors, match=r"bad\.csv:2: video"):
        batchswap.run("bad.csv", settings=fast())


@pytest.mark.parametrize("manifests", [[], "-", ["spring.csv", "-"]])
def test_a_manifest_must_be_a_file(manifests: list[str] | str) -> None:
    with pytest.raises(UsageError, match="give at least one manifest"):
        batchswap.run(manifests, api_key=KEY)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"workers": 0}, "Settings.workers: Expected `int` >= 1"),
        ({"rate_limit": 0}, "Settings.rate_limit: Expected `int` >= 1"),
        ({"budget": -1.0}, "Settings.budget: Expected `float` >= 0.0"),
        ({"budget": float("inf")}, "Settings.budget: expected a finite number"),
        ({"patience": "2h"}, "Settings.patience: Expected `float`, got `str`"),
        ({"provider": "other"}, "Settings.provider: Invalid enum value 'other'"),
        ({"out": 3}, "Settings.out: Expected `Path`, got `int`"),
        ({"callback_url": "https://example.com/hook"}, "callbacks need both"),
        ({"base_url": "http://example.com"}, "https"),
    ],
)
def test_settings_are_checked_as_options_are(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        batchswap.run("spring.csv", settings=batchswap.Settings(**values), api_key=KEY)
    assert words in str(caught.value)


def test_defaults_depend_on_the_provider() -> None:
    vendor, local = batchswap.Settings(), batchswap.Settings(provider="local")
    assert (vendor.rate_limit, vendor.in_flight, local.rate_limit) == (20, 100, None)
    assert local.in_flight >= 2
    assert batchswap.Settings(provider="local", rate_limit=5).rate_limit == 5


def test_a_missing_ledger_is_not_created(shop: Place) -> None:  # noqa: F811
    with pytest.raises(LedgerError, match="there is no ledger"):
        batchswap.open_ledger("no.db")
    assert not Path("no.db").exists()


def test_views_are_typed_streams_without_signed_queries(manifest: str) -> None:
    with Path(manifest).open("a") as file:
        file.write("signed,https://127.0.0.1:9/a.mp4?token=SECRET,face.png\n")
    summary = batchswap.run(manifest, settings=fast())
    assert summary.exit_code == 3
    with batchswap.open_ledger() as ledger:
        tasks = list(ledger.tasks())
        assert [(task.key, task.state) for task in tasks] == [("r0", "done"), ("r1", "done"), ("signed", "failed")]
        assert (tasks[2].target, tasks[2].file) == ("https://127.0.0.1:9/a.mp4", None)
        assert [task.key for task in ledger.tasks("failed", "queued", batch="spring")] == ["signed"]
        assert list(ledger.tasks(batch="other")) == []
        assert [(each.key, each.number, each.state) for each in ledger.attempts(key="r0")] == [("r0", 1, "succeeded")]
        events = list(ledger.events(batch="spring", key="r0"))
        assert [each.event for each in events][-1] == "saved"
        assert {each.key for each in ledger.events()} >= {"r0", "r1", "signed"}
        (run,) = ledger.runs()
        assert (run.exit_code, run.summary is not None and run.summary["counts"]["done"]) == (3, 2)
        assert next(ledger.tasks()) == tasks[0]
        assert "SECRET" not in repr((tasks, list(ledger.attempts()), events, run))


def test_the_package_loads_nothing_before_its_first_use() -> None:
    code = (
        "import sys, batchswap; print([m for m in sys.modules if m.startswith(('batchswap.', 'asyncio', 'msgspec'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_stub_has_the_names_of_the_package() -> None:
    stub = Path(batchswap.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert f"__all__ = {str(batchswap.__all__).replace(chr(39), chr(34))}" in stub
    assert set(batchswap.__all__) <= set(dir(batchswap))
    assert all(callable(getattr(batchswap, name)) for name in batchswap.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Run'"):
        importlib.import_module("batchswap").__getattr__("Run")


def test_the_examples_of_the_page_run(shop: Place) -> None:  # noqa: F811
    """In the order of the page, each in a process of its own, as a user would copy it."""
    assert len(EXAMPLES) == 4
    shop.manifest("spring.csv", 1)
    Path("spring.csv").write_text(Path("spring.csv").read_text().replace("r0", "intro", 1))
    for example in EXAMPLES:
        code = example.replace("Settings(", f"Settings(base_url={os.environ['CRUN_BASE_URL']!r}, rate_limit=None, ")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stderr) == (0, ""), example
    assert done.stdout.splitlines()[-1].endswith(" 0")


def test_the_page_names_every_setting_and_every_field() -> None:
    from batchswap.ledger import records

    kinds = (records.TaskRecord, records.AttemptRecord, records.EventRecord, records.RunRecord)
    left_out = {"ends_at", "batches"}
    names = {*batchswap.Settings.__struct_fields__, *(name for kind in kinds for name in kind.__struct_fields__)}
    assert {name for name in names - left_out if f"`{name}`" not in PAGE} == set()
