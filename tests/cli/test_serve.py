"""`batchswap serve`: its output, its keys and its end. Also the error handling around every command."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from batchswap.cli.command_options import ServeOptions
from batchswap.cli.commands.serve import serve_until_stopped, server_settings
from batchswap.cli.console import Console
from batchswap.cli.main import root
from batchswap.errors import Exit, UsageError
from batchswap.local.faults import Fault, FaultRate
from batchswap.local.server.settings import ServerSettings
from tests.cli.conftest import Place, call, chosen
from tests.cli.quick import QuickEngine
from tests.waits import until


def serve(settings: ServerSettings, number: signal.Signals) -> Exit:
    """Return the exit code after this signal."""

    async def both() -> Exit:
        Console().show_logs()
        serving = asyncio.create_task(serve_until_stopped(settings, QuickEngine()))
        await until((settings.folder / "tasks.db").exists, "the server's file")
        os.kill(os.getpid(), number)
        return await serving

    return asyncio.run(both())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_prints_exports_for_a_shell(
    place: Place, capfd: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    assert serve(ServerSettings(Path("served")), number) == code
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("export CRUN_BASE_URL=http://127.0.0.1:")
    assert lines[1].startswith("export CRUN_API_KEY=ak_")


def test_a_key_that_is_set_is_not_shown(
    place: Place, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHSWAP_SERVE_KEY", "ak_mine")
    words = ["--folder", "served", "--balance", "5", "--fault", "slow:0.5:20", "--seed", "3"]
    settings = server_settings(chosen(ServeOptions, *words))
    assert settings.keys == ("ak_mine",)
    assert settings.faults == (FaultRate(Fault.SLOW, 0.5, 20.0),)
    serve(settings, signal.SIGTERM)
    said = capfd.readouterr()
    assert "ak_mine" not in said.out + said.err
    assert "with the API key in BATCHSWAP_SERVE_KEY" in said.err


def test_a_server_for_others_needs_a_key(place: Place) -> None:
    said = call("serve", "--host", "0.0.0.0")
    assert said.exit_code == 2
    assert "set an API key for them in BATCHSWAP_SERVE_KEY first" in said.stderr


def test_an_unknown_fault_is_refused(place: Place) -> None:
    said = call("serve", "--fault", "nope:1")
    assert said.exit_code == 2
    assert "use one of 429, 455, 500, 501, 505, lost, slow" in said.stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("mend \x1b[31mthis"), 2, "batchswap: mend [31mthis"),
        (KeyboardInterrupt(), 130, "batchswap: interrupted"),
        (OSError(13, "Permission denied", "a.db"), 1, "batchswap: a.db: Permission denied"),
        (ExceptionGroup("several", [UsageError("one")]), 2, "batchswap: one"),
        (ZeroDivisionError("oops"), 1, "batchswap: ZeroDivisionError: oops; this is a bug in batchswap; "),
    ],
)
def test_every_error_has_a_message_and_an_exit_code(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def fail(**_: object) -> int:
        raise error

    monkeypatch.setattr(root.commands["status"], "callback", fail)
    said = call("status")
    assert said.exit_code == code
    assert said.stderr.startswith(words)
    assert "Traceback" not in said.stderr
    assert ("Traceback" in call("status", "-v").stderr) == (code == 1)


def test_usage_errors_end_with_2(place: Place) -> None:
    for arguments in ([], ["frobnicate"], ["run"], ["tasks", "--state", "nowhere"], ["resolve"]):
        assert call(*arguments).exit_code == 2
    assert call("--help").exit_code == 0
    assert call("--version").stdout.startswith("batchswap ")
