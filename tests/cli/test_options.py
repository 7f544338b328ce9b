"""Options: the sources of their values, the valid values, and --help."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from batchswap.cli import config
from batchswap.cli import option_types as kinds
from batchswap.cli.command import CommandOptions
from batchswap.cli.command_options import COMMANDS as OPTIONS
from batchswap.cli.command_options import RunOptions
from batchswap.cli.main import root
from batchswap.cli.settings_from_options import build_settings
from batchswap.clock import elapsed
from batchswap.errors import UsageError
from batchswap.settings import Settings
from tests.cli.conftest import Place, call, chosen

COMMANDS = list(root.commands)


def given(*arguments: str, command: str = "run") -> dict[str, Any]:
    """Return the options that a command would get."""
    values, _ = config.default_map(root)
    parent = click.Context(root, info_name="batchswap", default_map=values)
    return root.commands[command].make_context(command, list(arguments), parent=parent).params


def settings(*arguments: str) -> Settings:
    """Return the settings of a run with these options."""
    return build_settings(chosen(RunOptions, "m.csv", *arguments))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_command_line_over_environment_over_files(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given("m.csv")["workers"] == 16
    write(Path.home() / ".config/batchswap/config.yaml", "workers: 1\nahead: 9\n")
    assert given("m.csv")["workers"] == 1
    write(Path("batchswap.yaml"), "workers: 2\n")
    assert (given("m.csv")["workers"], given("m.csv")["ahead"]) == (2, 9)
    monkeypatch.setenv("BATCHSWAP_WORKERS", "3")
    assert given("m.csv")["workers"] == 3
    assert given("m.csv", "--workers", "4")["workers"] == 4


def test_xdg_config_home(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place.folder / "xdg"))
    write(place.folder / "xdg/batchswap/config.yaml", "in-flight: 7")
    assert given("m.csv")["in_flight"] == 7


def test_both_spellings_and_every_kind_of_value(place: Place) -> None:
    write(
        Path("batchswap.yaml"),
        "in_flight: 5\nmin-free: 2GB\nuntil: 23:30\nrequire-consent: yes\nrate: 10/1m\ntag: [de, hero]\njson: true\n",
    )
    found = given("m.csv")
    assert (found["in_flight"], found["min_free"], found["rate"]) == (5, 2 * 10**9, (10, 60.0))
    assert found["require_consent"] is True
    assert found["as_json"] is True
    assert found["tag"] == ("de", "hero")
    assert time.localtime(found["until"])[3:5] == (23, 30)


def test_one_value_for_an_option_that_takes_several(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("batchswap.yaml"), "tag: de")
    assert given("m.csv")["tag"] == ("de",)
    monkeypatch.setenv("BATCHSWAP_TAG", "de; two people;")
    assert given("m.csv")["tag"] == ("de", "two people")


def test_tags_in_a_file_are_separated_as_in_a_manifest(place: Place) -> None:
    write(Path("batchswap.yaml"), "tag: de; two people")
    assert given("m.csv")["tag"] == ("de", "two people")
    write(Path("batchswap.yaml"), "tag: [de, two people]")
    assert given("m.csv")["tag"] == ("de", "two people")


def test_base_url_has_another_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUN_BASE_URL", "https://api.crunai.com")
    assert given("m.csv")["base_url"] == "https://api.crunai.com"
    monkeypatch.setenv("BATCHSWAP_BASE_URL", "https://other.example")
    assert given("m.csv")["base_url"] == "https://other.example"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("inflight: 5", '"inflight" is not an option; did you mean "in-flight"?'),
        ("api-key: ak_x", '"api-key" is not an option'),
        ("- a\n- b", "must list options, one `name: value` per line"),
        ("budget: [1, 2]", "budget: takes one value, not a list"),
        ("budget: {a: 1}", "budget: must be a value"),
        ("a: [", "batchswap.yaml:2: is not valid YAML: "),
        ("in-flight: 5\nin_flight: 6", '"in-flight" and "in_flight" are the same option: remove one'),
        ("budget: 5\nrate: 5/1s\nbudget: 50", '"budget" is given twice: remove one'),
        ("workers: many", "is not a whole number of 1 or more (from batchswap.yaml)"),
    ],
)
def test_a_wrong_file_is_named(place: Place, text: str, sentence: str) -> None:
    write(Path("batchswap.yaml"), text + "\n")
    said = call("run", "m.csv")
    assert said.exit_code == 2
    assert sentence in " ".join(said.stderr.split())


def test_a_wrong_variable_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHSWAP_BUDGET", "lots")
    assert "write 0 or more, such as 250 or 12.5 (from BATCHSWAP_BUDGET)" in " ".join(call("run", "m").stderr.split())


def test_a_misspelt_variable_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHSWAP_ANYTHING_ELSE", "1")
    monkeypatch.setenv("BATCHSWAP_FACE_MODEL", "face.task")
    assert given("m.csv")["budget"] is None
    monkeypatch.setenv("BATCHSWAP_BUGDET", "50")
    result = call("run", "m.csv")
    assert result.exit_code == 2
    assert "BATCHSWAP_BUGDET is not an option; did you mean BATCHSWAP_BUDGET?" in result.stderr


def test_a_file_that_is_not_text(place: Place) -> None:
    Path("batchswap.yaml").write_bytes(b"\xff\xfe\x00")
    assert "batchswap.yaml: is not UTF-8" in call("status").stderr


def test_a_file_of_options_that_cannot_be_read_is_not_left_out(place: Place) -> None:
    """It may set a budget."""
    path = Path("batchswap.yaml")
    path.mkdir()
    folder = call("status", "--json")
    path.rmdir()
    path.symlink_to("nowhere.yaml")
    link = call("status", "--json")
    path.unlink()
    path.symlink_to(path)
    circle = call("status", "--json")
    assert [said.exit_code for said in (folder, link, circle)] == [2, 2, 2]
    assert "batchswap.yaml: is not a file" in folder.stderr
    assert "batchswap.yaml: is a broken link" in link.stderr
    assert "batchswap.yaml: cannot be read: Too many levels of symbolic links" in circle.stderr


def test_a_missing_folder_of_options_is_no_error(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place.folder / "face.png"))
    assert given("m.csv")["workers"] == 16


def test_a_file_of_options_with_another_ending_is_not_left_out(place: Place) -> None:
    """A budget in it would not count."""
    Path("batchswap.yml").write_text("budget: 100\n")
    refused = call("status")
    assert refused.exit_code == 2
    assert "batchswap.yml: is not read: rename it to batchswap.yaml" in refused.stderr
    Path("batchswap.yml").rename("batchswap.yaml")
    assert "is not read" not in call("status").stderr


def test_a_path_in_a_file_may_begin_at_home(place: Place) -> None:
    write(Path("batchswap.yaml"), "out: ~/res\ndb: ~/a.db\nname-template: ~{key}{ext}\n")
    found = given("m.csv")
    assert (found["out"], found["db"]) == (Path.home() / "res", Path.home() / "a.db")
    assert found["name_template"] == "~{key}{ext}"
    write(Path("batchswap.yaml"), "out: ~no-such-user/res\n")
    assert "batchswap.yaml: out: ~no-such-user/res: there is no such home directory" in call("status").stderr


def test_commands_work_without_a_home(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container, a user may have neither HOME nor an entry in passwd."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    assert call("check", place.manifest("spring.csv", 1)).stdout == "spring: 1 row, no mistakes found\n"
    refused = call("run", "spring.csv")
    assert (refused.exit_code, "there is no API key" in refused.stderr) == (5, True)


@pytest.mark.parametrize(
    ("text", "rate"), [("20/10s", (20, 10.0)), ("20/1m", (20, 60.0)), ("5/s", (5, 1.0)), ("none", None)]
)
def test_rates(text: str, rate: tuple[int, float] | None) -> None:
    assert kinds.parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "20", "20/", "/10s", "0/10s", "20/0s", "-1/10s", "20/10x", "a/b"])
def test_invalid_rates(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        kinds.parse_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6h", 21600), ("90m", 5400), ("45s", 45), ("1h30m", 5400), ("2d", 172800), ("0.5h", 1800), ("30", 30)],
)
def test_durations(text: str, seconds: float) -> None:
    assert kinds.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "6 hours", "-6h", "6h x", "6hh"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        kinds.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("1GB", 10**9), ("500 MB", 5 * 10**8), ("1GiB", 2**30), ("0", 0), ("1.5kb", 1500)]
)
def test_sizes(text: str, size: int) -> None:
    assert kinds.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "1XB", "-1GB"])
def test_invalid_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        kinds.parse_size(text)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--min-free", "9" * 400),
        ("--max-upload", "9" * 400 + "GB"),
        ("--min-free", f"{2**63}"),
        ("--rate", "999999999999999999999999/1s"),
        ("--rate", "20/" + "9" * 400 + "s"),
        ("--limit", "9" * 400),
        ("--budget", "9" * 400),
    ],
)
def test_a_number_that_is_too_large_is_named_as_such(shop: Place, option: str, text: str) -> None:
    refused = call("run", shop.manifest("spring.csv", 1), option, text)
    assert (refused.exit_code, "bug" in refused.stderr) == (2, False), refused.stderr
    assert f"Invalid value for '{option}'" in refused.stderr


def test_a_duration_may_be_for_ever(shop: Place) -> None:
    words = [word for name in ("--max-duration", "--task-timeout", "--patience") for word in (name, "9" * 400 + "d")]
    assert call("run", shop.manifest("spring.csv", 1), "--rate", "none", *words).exit_code == 0


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "x", ""])
def test_invalid_credits(text: str) -> None:
    with pytest.raises(ValueError, match="credits"):
        kinds.parse_credits(text)


@pytest.mark.parametrize(
    ("text", "address"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("host:9", ("host", 9))]
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert kinds.parse_address(text) == address


@pytest.mark.parametrize("text", ["127.0.0.1", ":80", "host:99999", "http://host:80", "::1:80"])
def test_invalid_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        kinds.parse_address(text)


def test_the_next_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    evening = time.mktime((2026, 3, 28, 22, 0, 0, 0, 0, -1))
    assert kinds.next_time_of_day("23:15", evening) == evening + 75 * 60
    assert kinds.next_time_of_day("22:00", evening) == evening + 23 * 3600  # the clocks change that night
    assert time.localtime(kinds.next_time_of_day("6:30", evening))[2:5] == (29, 6, 30)
    for wrong in ("24:00", "6", "6:60", "x"):
        with pytest.raises(ValueError, match="time of day"):
            kinds.next_time_of_day(wrong, evening)
    monkeypatch.undo()
    time.tzset()


def test_the_local_provider_has_its_own_defaults() -> None:
    vendor, local = settings("--provider", "crun"), settings("--provider", "local")
    assert (vendor.rate_limit, vendor.rate_period, vendor.in_flight) == (20, 10.0, 100)
    assert local.rate_limit is None
    assert local.in_flight < 100
    assert settings("--provider", "local", "--rate", "5/1s").rate_limit == 5
    assert settings("--provider", "crun", "--rate", "none").rate_limit is None


def test_a_time_of_day_and_a_duration_are_kept_apart() -> None:
    """The earlier one counts, even if the clock is set meanwhile."""
    began = elapsed()
    until = chosen(RunOptions, "m.csv", "--until", "06:30", "--max-duration", "1h")
    found = build_settings(until)
    assert found.deadline == until.until
    assert found.ends_at is not None
    assert began + 3600.0 <= found.ends_at <= elapsed() + 3600.0
    assert (settings().deadline, settings().ends_at) == (None, None)


def test_a_callback_url_takes_no_query() -> None:
    with pytest.raises(UsageError, match="without a query"):
        settings("--callback-url", "https://example.com/?a", "--callback-listen", "127.0.0.1:0")


@pytest.mark.parametrize(
    "url", ["http://", "https:///hook", "https://:443/", "https://h:99999", "http://[a", "https://a b"]
)
def test_a_callback_url_names_a_host(url: str) -> None:
    with pytest.raises(UsageError, match="must name a host"):
        settings("--callback-url", url, "--callback-listen", "127.0.0.1:0")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_every_option(name: str) -> None:
    said = call(name, "--help")
    assert said.exit_code == 0
    for param in root.commands[name].params:
        if isinstance(param, click.Option):
            assert all(spelling in said.stdout for spelling in param.opts), param
            assert param.help, param
            assert not param.help.endswith("."), param
            assert param.help[0].islower(), param


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs 80 columns and breaks no default over two lines."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = call(*filter(None, [name]), "--help").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.count("[default:") == line.count("]", line.find("[default:")) for line in lines if "[def" in line)
    assert all(line.isascii() for line in lines)


@pytest.mark.parametrize(("name", "headings"), [
    ("run", ["Where", "How fast", "How much", "How long", "Which rows", "Quality", "Unattended", "Output"]),
    ("plan", ["Where", "How fast", "How much", "How long", "Which rows", "Quality", "Output"]),
    ("check", ["Options", "Where", "How much", "Which rows", "Output"]),
    ("status", ["Options"]),
])  # fmt: skip
def test_help_groups_a_long_list_of_options(name: str, headings: list[str]) -> None:
    lines = call(name, "--help").stdout.splitlines()
    assert [line.rstrip(":") for line in lines if line.endswith(":") and line[0] != " "] == headings


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_variable_of_its_own(name: str) -> None:
    for param in root.commands[name].params:
        if isinstance(param, click.Option):
            assert isinstance(param, config.Option), param
            assert "BATCHSWAP_" + max(param.opts, key=len)[2:].replace("-", "_").upper() in (param.envvar or ())


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.command)
def test_every_option_is_a_typed_field(options: type[CommandOptions]) -> None:
    """And every field is an option or an argument."""
    typed = {name for base in options.__mro__ for name in vars(base).get("__annotations__", {})} - {
        "command",
        "summary",
        "heading",
        "package",
    }
    assert typed == {param.name for param in root.commands[options.command].params if param.expose_value}


def test_options_are_frozen() -> None:
    options = chosen(RunOptions, "m.csv")
    with pytest.raises(AttributeError, match="workers is frozen"):
        options.workers = 1


def test_run_and_plan_take_what_the_contract_promises() -> None:
    promised = [
        "db", "out", "provider", "base-url", "rate", "in-flight", "workers", "downloads", "retries", "paid-attempts",
        "budget", "until", "max-duration", "callback-url", "callback-listen", "require-consent", "limit", "filter",
        "tag", "json",
    ]  # fmt: skip
    more = ["if-running", "dry-run", "quiet", "verbose", "log-format", "no-progress"]
    for name, wanted in (("plan", promised), ("run", promised + more)):
        options = {spelling for param in root.commands[name].params for spelling in param.opts}
        assert {f"--{each}" for each in wanted} <= options


def test_help_loads_nothing_heavy(place: Place) -> None:
    """The command that needs a slow import loads it."""
    heavy = ("asyncio", "aiohttp", "rich", "yaml", "sqlite_utils", "sqlite3", "msgspec", "logging", "mediapipe")
    code = (
        "import sys\nfrom batchswap.cli.main import root\n"
        "try: root.main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n"


def test_status_loads_only_what_it_needs(shop: Place) -> None:
    call("run", shop.manifest("spring.csv", 1), "--limit", "0")
    heavy = ("asyncio", "aiohttp", "rich", "yaml", "sqlite_utils", "mediapipe", "av")
    code = (
        "import sys\nfrom batchswap.cli.main import root\n"
        "try: root.main(['status'])\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n"
