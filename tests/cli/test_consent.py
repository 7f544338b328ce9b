"""Consent: rows without a valid release are refused before anything is paid, also those of an earlier run."""

import json
import time
from pathlib import Path

import pytest

import batchswap
from batchswap.errors import ManifestErrors
from tests.api.test_api import fast
from tests.cli.conftest import Place, call, work
from tests.cli.test_duplicates import submits
from tests.cli.test_options import write

PERSON = "Anna Muster"


def day(shift: int) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(time.time() + shift * 86400))


def register(*rows: str) -> str:
    """Write a register, with evidence for each release."""
    Path("proof.pdf").write_bytes(b"signed")
    head = "reference;person;valid_from;valid_until;scope;evidence"
    Path("releases.csv").write_text("\n".join([head, *rows, ""]), encoding="utf-8-sig")
    return "releases.csv"


def manifest(place: Place, *consents: str) -> str:
    """Write a manifest with a row for each consent, which may have tags: `release-1,de`."""
    rows = [f"r{i},{place.video(f'v{i}.mp4')},face.png,{each}" for i, each in enumerate(consents)]
    tags = ",tags" * any("," in each for each in consents)
    Path("spring.csv").write_text("\n".join([f"id,video,face,consent{tags}", *rows, ""]))
    return "spring.csv"


@pytest.mark.parametrize("command", ["run", "plan", "check"])
def test_every_row_without_a_valid_release_is_named_and_nothing_is_sent(shop: Place, command: str) -> None:
    releases = register(
        f"good;{PERSON};{day(0)};{day(0)};;proof.pdf",
        f"old;{PERSON};;{day(-1)};;proof.pdf",
        f"early;{PERSON};{day(1)};;;proof.pdf",
        f"web;{PERSON};;;web;proof.pdf",
    )
    name = manifest(shop, "good,de", "old,", "early,", "web,de", "web,de;web", "nosuch,", ",")
    refused = call(command, name, "--consent-register", releases)
    assert refused.exit_code == 2
    assert refused.stderr.replace("batchswap: ", "").splitlines() == [
        f'spring.csv:3: consent: "old" expired on {day(-1)} (releases.csv:3)',
        f'spring.csv:4: consent: "early" is not valid before {day(1)} (releases.csv:4)',
        'spring.csv:5: consent: "web" is for web, and the row has only "de" (releases.csv:5)',
        'spring.csv:7: consent: "nosuch" is not in releases.csv',
        "spring.csv:8: consent: is missing, but --consent-register requires it in every row",
    ]
    assert not Path("batchswap.db").exists()


def test_problems_of_the_register_and_of_the_manifest_are_one_list(shop: Place) -> None:
    releases = register("a;;2026;;;nosuch.pdf", "a;;;;;")
    name = manifest(shop, "b", "a")
    Path("v1.mp4").unlink()
    said = call("check", name, "--consent-register", releases, "--json")
    found = json.loads(said.stdout)["problems"]
    assert [(each["file"], each["line"], each["field"]) for each in found] == [
        ("releases.csv", 2, "valid_from"),
        ("releases.csv", 2, "evidence"),
        ("releases.csv", 3, "reference"),
        ("spring.csv", 2, "consent"),
        ("spring.csv", 3, "video"),
    ]
    assert "does not exist" in call("check", name, "--consent-register", "nosuch.csv").stderr


def test_a_release_that_ends_stops_the_queued_rows_of_an_earlier_run(shop: Place) -> None:
    name = manifest(shop, "a", "a", "a")
    releases = register(f"a;{PERSON};;{day(0)};;proof.pdf")
    assert work(name, "--consent-register", releases, "--limit", "1").exit_code == 0
    register(f"a;{PERSON};;{day(-1)};;proof.pdf")
    refused = work(name, "--consent-register", releases)
    assert (refused.exit_code, refused.stderr.count("expired on")) == (2, 3)
    Path(name).write_text("".join(Path(name).read_text().splitlines(keepends=True)[:1]))
    assert submits(name, "--consent-register", releases) == 0, "rows that left the manifest are not run"
    manifest(shop, "a", "a", "a")
    register("a;;;;;")
    assert submits(name, "--consent-register", releases) == 2


def test_the_users_configuration_holds_for_every_folder(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path.home() / ".config/batchswap/config.yaml"
    write(home, "require-consent: true\n")
    name = manifest(shop, "a", "")
    for command in ("run", "plan", "check"):
        assert "spring.csv:3: consent: is missing, but --require-consent requires it" in call(command, name).stderr
    register("a;;;;;")
    Path("releases.csv").rename(Path.home() / "releases.csv")
    Path("proof.pdf").rename(Path.home() / "proof.pdf")
    write(home, "consent-register: ~/releases.csv\n")
    for command in ("run", "plan", "check"):
        assert "spring.csv:3: consent: is missing, but --consent-register requires it" in call(command, name).stderr
    manifest(shop, "a", "b")
    assert f'"b" is not in {Path.home()}/releases.csv' in call("check", name).stderr
    monkeypatch.setenv("BATCHSWAP_CONSENT_REGISTER", register("a;;;;;", "b;;;;;"))
    assert call("check", name).exit_code == 0
    assert call("rebuild", name).exit_code == 0, "a lost ledger can be rebuilt after its releases have ended"


def test_programs_have_the_register_too(shop: Place) -> None:
    name, releases = manifest(shop, "a"), register("b;;;;;")
    for function in (batchswap.run, batchswap.plan):
        with pytest.raises(ManifestErrors, match='"a" is not in releases'):
            function(name, settings=fast(), consent_register=releases)
    summary = batchswap.run(name, settings=fast(), consent_register=Path(register("a;;;;;")))
    assert summary.counts["done"] == 1


def test_no_message_names_a_person(shop: Place) -> None:
    name = manifest(shop, "a", "b")
    rows = [
        f"a;{PERSON};{PERSON};{PERSON};\x07{PERSON};{PERSON}.pdf",
        f"b;{PERSON}",
        f";{PERSON};;;;",
        f'b;"{PERSON};;;',
    ]
    for head in ("reference;person;valid_from;valid_until;scope;evidence", f"b;{PERSON};2026-01-01;;;"):
        Path("releases.csv").write_text("\n".join([head, *rows]))
        for command in ("run", "plan", "check"):
            said = call(command, name, "--consent-register", "releases.csv", "-v")
            assert (said.exit_code, PERSON in said.output) == (2, False)
    register(f"a;{PERSON};;;;proof.pdf", f"b;{PERSON};;;;proof.pdf")
    said = work(name, "--consent-register", "releases.csv", "-v")
    assert (said.exit_code, PERSON in said.output) == (0, False)
    assert not [each for each in Path().glob("batchswap.db*") if PERSON.encode() in each.read_bytes()]
