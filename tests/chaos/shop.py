"""A working directory, a home and a vendor, with `batchswap` as a process or inside this one."""

import hashlib
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from batchswap.cli.main import root
from batchswap.ledger.file import connection
from tests.chaos.vendor import Pair, Vendor

KEY = "ak_" + "S3cr3t" * 5 + "xy"
VICTIM = Path(__file__).parent / "victim"


@dataclass(frozen=True)
class Shop:
    """A place for commands. All files of the product are below the working directory `folder`."""

    folder: Path
    vendor: Vendor
    key: str = KEY
    home: Path | None = None
    """Folder of the user's own files; None: the working directory."""

    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("CRUN_", "BATCHSWAP_", "XDG_"))
        }
        home = self.home or self.folder
        return {
            **kept,
            "CRUN_API_KEY": self.key,
            # The processes that examine and label results take time to start, and results are compared byte for byte.
            "BATCHSWAP_NO_SCORE": "1",
            "BATCHSWAP_NO_LABEL": "1",
            "HOME": str(home / "home"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
        }

    def arguments(self, *more: str, manifest: str = "spring.csv") -> list[str]:
        place = ["--db", str(self.folder / "b.db"), "--out", str(self.folder / "out")]
        provider = ["--provider", "crun", "--base-url", self.vendor.url, "--min-free", "0"]
        return ["run", str(self.folder / manifest), *place, *provider, *more]

    def write(self, *rows: str) -> None:
        (self.folder / "spring.csv").write_text("\n".join(["id,video,face", *rows, ""]), encoding="utf-8")

    def rows(self, count: int, letter: str = "r") -> list[Pair]:
        """Write a manifest of `count` different pairs, and return the pairs."""
        # Other letters have other inputs, because the vendor of another test may have had the same port.
        name = "" if letter == "r" else letter
        pairs = [(f"https://cdn.example/{name}{i}.mp4", "https://cdn.example/anna.jpg") for i in range(count)]
        self.write(*(f"{letter}{i},{video},{face}" for i, (video, face) in enumerate(pairs)))
        return pairs

    def process(
        self, *more: str, point: str = "", before: tuple[str, ...] = (), zone: str = ""
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run `batchswap run` to any end. `before` goes before the command (strace)."""
        return self.command(*self.arguments(*more), point=point, before=before, zone=zone)

    def command(
        self, *arguments: str, point: str = "", before: tuple[str, ...] = (), zone: str = ""
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run any command as a process."""
        environment = {**self.environment(), **({"TZ": zone} if zone else {})}
        if point:
            paths = [str(VICTIM), *filter(None, [environment.get("PYTHONPATH")])]
            environment |= {"CHAOS_POINT": point, "PYTHONPATH": os.pathsep.join(paths)}
        command = [*before, sys.executable, "-m", "batchswap", *arguments]
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as run:
            self.vendor.victim = run.pid
            out, err = run.communicate(timeout=60)
        return subprocess.CompletedProcess(command, run.returncode, out, err)

    def call(self, *arguments: str) -> Result:
        """Run a command in this process."""
        environment: dict[str, str | None] = dict.fromkeys(os.environ)
        return CliRunner(env={**environment, **self.environment()}).invoke(root, list(arguments))

    def run(self, *more: str) -> Result:
        return self.call(*self.arguments(*more))

    def select(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(connection.connect(self.folder / "b.db", write=False)) as db:
            return db.execute(sql).fetchall()

    def results(self) -> dict[str, str]:
        """Return every file below --out with the SHA-256 of its content."""
        out = self.folder / "out"
        return {
            str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(out.rglob("*"))
            if path.is_file()
        }

    def expected(self, pairs: list[Pair]) -> dict[str, str]:
        """Return the files of an undisturbed run."""
        return {
            f"spring/r{i}.mp4": hashlib.sha256(self.vendor.content(pair)).hexdigest() for i, pair in enumerate(pairs)
        }
