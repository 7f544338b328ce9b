"""Whole commands through a proxy, as a user starts them: TLS by a private authority, and names that only it knows."""

import json
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.vendor import Vendor, selling
from tests.cli.conftest import Place
from tests.cli.processes import environment, finish
from tests.http.proxies import Authority, TestProxy, proxying
from tests.http.samples import picture
from tests.http.scripted import Act, Request
from tests.ports import reserve_port
from tests.waits import wait_until

API = "api.test.example"
LOGIN = "night:s3cret%2Fword"
SECRET = "s3cret"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def vendor(authority: Authority) -> Iterator[Vendor]:
    with selling(tls=authority.context(API), name=API) as found:
        yield found


@pytest.fixture
def proxy(vendor: Vendor) -> Iterator[TestProxy]:
    with proxying(TestProxy({API: vendor.port}, credentials="night:s3cret/word")) as found:
        yield found


@pytest.fixture
def env(place: Place, proxy: TestProxy, authority: Authority, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user behind the proxy, whose company has its own authority."""
    (tmp_path / "home").mkdir(mode=0o700)
    found = environment(f"https://{API}", tmp_path / "home")
    return found | {"SSL_CERT_FILE": str(authority.root), "BATCHSWAP_PROXY": f"http://{LOGIN}@127.0.0.1:{proxy.port}"}


def run(place: Place, env: Mapping[str, str], *more: str, rows: int = 2) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, the document and the messages of a run."""
    manifest = place.manifest("m.csv", rows)
    words = ("run", manifest, "--json", "-v", "--rate", "none", "--no-backup", *more)
    done = finish(place.folder, env, *words)
    assert SECRET not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def states(place: Place, env: Mapping[str, str]) -> list[str]:
    return [each["state"] for each in json.loads(finish(place.folder, env, "tasks", "--format", "json").stdout)]


def test_a_whole_run_goes_through_the_proxy(
    place: Place, env: dict[str, str], proxy: TestProxy, vendor: Vendor
) -> None:
    code, document, said = run(place, env)
    assert (code, document["counts"]["done"]) == (0, 2), said
    assert f"requests go through http://127.0.0.1:{proxy.port};" in said
    assert sorted(each.suffix for each in (place.folder / "results").rglob("*.mp4")) == [".mp4", ".mp4"]
    assert {kind for _, kind in vendor.arrivals} >= {"submit", "upload", "put", "media"}
    assert set(proxy.seen) == {API}, "nothing else was asked for"
    for text in place.folder.rglob("*"):
        assert not text.is_file() or SECRET.encode() not in text.read_bytes(), "not even in the ledger"


@pytest.mark.parametrize("more", ["--preflight", "--fetch"])
def test_wrong_credentials_lose_nothing_and_submit_nothing(
    place: Place, env: dict[str, str], proxy: TestProxy, vendor: Vendor, more: str
) -> None:
    env["BATCHSWAP_PROXY"] = f"http://night:s3cret-wrong@127.0.0.1:{proxy.port}"
    code, document, _ = run(place, env, "--patience", "3s")
    assert code == 8
    assert f"the proxy http://127.0.0.1:{proxy.port} refuses the user and password (407)" in document["reason"]
    assert (states(place, env), vendor.requests(), document["credits"]["reserved"]) == (["queued"] * 2, 0, 0)


@pytest.mark.parametrize("fault", [403, 407, 502, "close", "garbage", "cut"])
def test_what_a_proxy_does_before_the_connection_leaves_nothing_uncertain(
    place: Place, env: dict[str, str], proxy: TestProxy, vendor: Vendor, fault: int | str
) -> None:
    """The first submits find the fault, later ones do not: every task is accepted once."""
    faults = iter([fault] * 4)
    proxy.fault = lambda _: next(faults, None) if vendor.requests("put") >= 3 else None
    code, document, said = run(place, env)
    assert (code, document["counts"]["done"], document["counts"]["uncertain"]) == (0, 2, 0), said
    assert next(faults, None) is None, "the faults were met"
    assert sorted(vendor.accepted.values()) == [1, 1]


def test_a_tunnel_that_breaks_after_a_submit_leaves_it_uncertain(
    place: Place, env: dict[str, str], proxy: TestProxy, vendor: Vendor
) -> None:
    def break_tunnels(vendor: Vendor, kind: str, request: Request) -> Act | None:
        if kind != "submit":
            return None
        act = vendor.answer(kind, request)
        proxy.cut_tunnels()
        wait_until(lambda: not proxy._tunnels, "the tunnels to break")
        return act

    vendor.spoil = break_tunnels
    code, document, said = run(place, env, rows=1)
    assert (code, states(place, env), document["counts"]["uncertain"]) == (4, ["uncertain"], 1), said
    code, _, _ = run(place, env, rows=1)
    assert (code, vendor.requests("submit"), sum(vendor.accepted.values())) == (4, 1, 1), "it is not paid twice"


def test_downloads_wait_for_a_proxy_that_is_down(
    place: Place, env: dict[str, str], proxy: TestProxy, vendor: Vendor
) -> None:
    faults = iter([502, 503])
    proxy.fault = lambda _: next(faults, None) if vendor.requests("poll") else None
    code, document, said = run(place, env)
    assert (code, document["counts"]["done"]) == (0, 2), said


def test_no_proxy_is_honoured_and_the_variables_count_on_request_only(
    place: Place, env: dict[str, str], proxy: TestProxy, vendor: Vendor
) -> None:
    url = env.pop("BATCHSWAP_PROXY")
    env["HTTPS_PROXY"] = url
    code, document, _ = run(place, env, "--patience", "1s", rows=1)
    assert (code, proxy.total) == (8, 0), "the variable is ignored"
    code, document, said = run(place, env, "--proxy", "env", rows=1)
    assert (code, document["counts"]["done"]) == (0, 1), said
    seen = proxy.total
    assert seen
    env["NO_PROXY"] = "test.example"
    (place.folder / "results").rename(place.folder / "older")
    code, _, said = run(place, env, "--proxy", "env", "--patience", "1s", "--db", "other.db", rows=1)
    assert (code, proxy.total) == (8, seen), said


def test_an_api_on_this_machine_is_reached_without_the_proxy(
    place: Place, env: dict[str, str], proxy: TestProxy
) -> None:
    with selling() as vendor:
        env["CRUN_BASE_URL"] = vendor.url
        code, document, said = run(place, env)
        assert (code, document["counts"]["done"], proxy.total) == (0, 2, 0), said


def test_the_printed_command_has_no_password(place: Place, env: dict[str, str], proxy: TestProxy) -> None:
    assert run(place, env, rows=1)[0] == 0
    url = f"http://night:s3cret-wrong@127.0.0.1:{proxy.port}"
    done = finish(place.folder, env, "run", "m.csv", "--batch", "other", "--proxy", url)
    assert (done.returncode, SECRET in done.stdout + done.stderr) == (2, False)
    assert f"batchswap run m.csv --batch other --proxy http://127.0.0.1:{proxy.port} --dup" in done.stderr.replace(
        "'", ""
    )


@pytest.mark.parametrize("command", [("balance",), ("doctor",), ("plan", "u.csv"), ("faces", "m0.mp4")])
def test_the_other_commands_use_the_proxy(
    place: Place, env: dict[str, str], proxy: TestProxy, command: tuple[str, ...]
) -> None:
    place.manifest("m.csv", 1)
    (place.folder / "u.csv").write_text(f"video,face\nhttps://{API}/v.mp4,https://{API}/f.png\n")
    done = finish(place.folder, env, *command)
    assert proxy.total > 0, done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_inputs_are_looked_at_through_the_proxy(place: Place, env: dict[str, str], proxy: TestProxy) -> None:
    (place.folder / "u.csv").write_text(f"video,face\nhttps://{API}/v.mp4,http://{API}/f.png\n")
    proxy.fault = lambda _: 404
    done = finish(place.folder, env, "check", "--media", "u.csv")
    assert (done.returncode, proxy.seen) == (2, {API: 3}), done.stderr
    assert f"does not connect to {API}: it answers 404" in done.stderr


def test_doctor_tells_the_proxy_from_the_api(
    place: Place, env: dict[str, str], proxy: TestProxy, vendor: Vendor
) -> None:
    shown = f"http://127.0.0.1:{proxy.port}"

    def look(*more: str) -> tuple[int, str]:
        done = finish(place.folder, env, "doctor", *more)
        assert SECRET not in done.stdout + done.stderr
        return done.returncode, done.stdout

    code, said = look()
    assert code == 0, said
    assert f"ok   proxy: {shown} can be reached, and is used with a user and a password" in said
    assert f"ok   certificates: SSL_CERT_FILE ({env['SSL_CERT_FILE']}) says which certificates are trusted" in said
    assert f"ok   api: https://{API} accepts the key" in said
    proxy.fault = lambda _: 502
    code, said = look()
    assert code == 8
    assert f"BAD  proxy: the API cannot be reached: the proxy {shown} cannot connect to {API} (502)" in said
    env["BATCHSWAP_PROXY"] = f"http://127.0.0.1:{reserve_port()}"
    code, said = look()
    assert code == 8
    assert "cannot be reached: Connection refused" in said
    del env["BATCHSWAP_PROXY"]
    env["https_proxy"] = f"http://{LOGIN}@127.0.0.1:{proxy.port}"
    assert "ok   proxy: https_proxy is set and not used: --proxy env uses it" in look()[1]
    proxy.fault = lambda _: None
    code, said = look("--proxy", "env")
    assert (code, f"ok   proxy: {shown} (https_proxy) can be reached" in said) == (0, True)
    assert "is reached directly" not in said
    env["NO_PROXY"] = "test.example"
    assert f"ok   proxy: https://{API} is reached directly, because NO_PROXY lists it" in look("--proxy", "env")[1]
    env["http_proxy"] = env.pop("https_proxy")
    del env["NO_PROXY"]
    assert (
        f"https://{API} is reached directly, because neither HTTPS_PROXY nor ALL_PROXY is set"
        in look("--proxy", "env")[1]
    )
    del env["http_proxy"]
    assert "no proxy variable is set, so all connections are direct" in look("--proxy", "env")[1]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("http://u:s3cret@h:port", "the URL of the proxy is malformed"),
        ("ftp://u:s3cret@h:1", "the scheme ftp:// is not that of a proxy"),
        ("http://u:s3cret@h:1/x", "has nothing after the port"),
        ("u:s3cret@h:1", "this is not the URL of a proxy"),
    ],
)
def test_an_unusable_proxy_is_a_usage_error_without_its_password(
    place: Place, env: dict[str, str], value: str, words: str
) -> None:
    place.manifest("m.csv", 1)
    env["BATCHSWAP_PROXY"] = value
    for command in (("run", "m.csv", "-v"), ("check", "--media", "m.csv"), ("balance", "--json"), ("doctor",)):
        done = finish(place.folder, env, *command)
        assert (done.returncode, SECRET in done.stdout + done.stderr) == (2, False)
        assert words in done.stderr + done.stdout
        assert words.startswith("the scheme") or "with USER:PASSWORD@ in front of HOST" in done.stderr + done.stdout
    assert not (place.folder / "batchswap.db").exists()


def certificate(kind: str, authority: Authority, folder: Path) -> ssl.SSLContext:
    now = datetime.now(UTC)
    match kind:
        case "expired":
            return authority.context(API, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
        case "name":
            return authority.context("other.example")
    return Authority(folder).context(API)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("expired", "has expired"), ("name", "is for another name"), ("unknown", "is not trusted, because this machine")],
)
def test_a_refused_certificate_is_explained(
    place: Place, env: dict[str, str], authority: Authority, tmp_path: Path, kind: str, words: str
) -> None:
    with (
        selling(tls=certificate(kind, authority, tmp_path), name=API) as vendor,
        proxying(TestProxy({API: vendor.port})) as proxy,
    ):
        env["BATCHSWAP_PROXY"] = f"http://127.0.0.1:{proxy.port}"
        code, document, said = run(place, env, "--patience", "1s", rows=1)
        assert (code, vendor.requests(), states(place, env)) == (8, 0, ["queued"]), said
        assert f"the certificate of {API} {words}" in document["reason"]
        done = finish(place.folder, env, "doctor")
        assert (done.returncode, "BAD  api: " in done.stdout, words in done.stdout) == (8, True, True)


def test_the_files_of_trusted_certificates_are_checked(place: Place, env: dict[str, str], tmp_path: Path) -> None:
    junk, empty = tmp_path / "junk.pem", tmp_path / "empty"
    junk.write_bytes(picture(".png"))
    empty.mkdir()
    missing = str(tmp_path / "missing.pem")
    for name, value, words in (
        ("SSL_CERT_FILE", missing, f"SSL_CERT_FILE is {missing}, which cannot be read (No such file or directory)"),
        ("SSL_CERT_FILE", str(junk), f"SSL_CERT_FILE is {junk}, which has no certificates in PEM"),
        ("SSL_CERT_DIR", str(empty), f"SSL_CERT_DIR is {empty}, where no certificate has a name that OpenSSL finds"),
    ):
        code, document, _ = run(place, env | {name: value}, rows=1)
        assert (code, words in document["reason"]) == (2, True)
        done = finish(place.folder, env | {name: value}, "doctor")
        assert (done.returncode, f"BAD  certificates: {words}" in done.stdout) == (2, True), done.stdout
    assert not (place.folder / "batchswap.db").exists()


def test_a_folder_of_certificates_is_trusted(
    place: Place, env: dict[str, str], authority: Authority, tmp_path: Path
) -> None:
    folder = tmp_path / "trusted"
    folder.mkdir()
    command = ["openssl", "x509", "-noout", "-hash", "-in", env.pop("SSL_CERT_FILE")]
    hashed = subprocess.run(command, capture_output=True, text=True, check=True)
    (folder / f"{hashed.stdout.strip()}.0").write_bytes(authority.root.read_bytes())
    both = env | {"SSL_CERT_DIR": str(folder), "SSL_CERT_FILE": str(authority.root)}
    assert f"SSL_CERT_DIR ({folder}) say which" in finish(place.folder, both, "doctor").stdout
    code, document, said = run(place, env | {"SSL_CERT_DIR": str(folder)}, rows=1)
    assert (code, document["counts"]["done"]) == (0, 1), said


@pytest.mark.parametrize("scheme", ["socks5h"])
def test_a_whole_run_goes_through_a_socks_proxy(place: Place, env: dict[str, str], vendor: Vendor, scheme: str) -> None:
    with proxying(TestProxy({API: vendor.port}, credentials="night:s3cret"), is_socks=True) as proxy:
        env["BATCHSWAP_PROXY"] = f"{scheme}://night:s3cret@127.0.0.1:{proxy.port}"
        code, document, said = run(place, env)
        assert (code, document["counts"]["done"], set(proxy.seen)) == (0, 2, {API}), said


def test_without_aiohttp_socks_the_extra_is_named_before_anything_is_sent(
    place: Place, env: dict[str, str], vendor: Vendor, tmp_path: Path
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'aiohttp_socks' else find(name, *more)\n"
    )
    env |= {"BATCHSWAP_PROXY": "socks5://h", "PYTHONPATH": f"{tmp_path / 'without'}:{env.get('PYTHONPATH', '')}"}
    code, document, _ = run(place, env, rows=1)
    assert (code, vendor.requests()) == (2, 0)
    assert "aiohttp_socks, which is not installed: pip install 'batchswap[socks]'" in document["reason"]
