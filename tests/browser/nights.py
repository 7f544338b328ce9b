"""Ledgers of finished nights, written directly: a page of 100,000 tasks needs one within seconds."""

import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from batchswap import __version__
from batchswap.ledger.deliveries import pictures_folder
from batchswap.ledger.file import connection
from batchswap.states import State

START = 1795730400.0
"""2026-11-26 22:00 UTC."""
MESSAGES = (
    ("501", "input.video_url: no face found in any frame of clip-{n}.mp4"),
    ("422", "new_face: https://cdn.example.com/faces/{n}.jpg could not be fetched"),
    ("file-type", "the result is not a video"),
)
QUALITIES = ("swapped",) * 17 + ("partly", "unchanged", "no_face")


@dataclass(frozen=True)
class Night:
    """A batch with a share of failures and doubtful results. `texts` replaces fields of the first tasks."""

    folder: Path
    tasks: int
    batches: tuple[str, ...] = ("spring",)
    runs: int = 1
    trouble: bool = True
    strips: bool = True
    texts: Sequence[dict[str, str]] = field(default_factory=tuple)

    @property
    def ledger(self) -> Path:
        return self.folder / "batchswap.db"

    def write(self) -> Path:
        """Write the ledger, and return its path."""
        connection.create(self.ledger)
        with closing(sqlite3.connect(self.ledger, isolation_level=None)) as db:
            db.execute("pragma synchronous = off")
            db.execute("begin")
            self._fill(db)
            db.execute("commit")
        return self.ledger

    def _fill(self, db: sqlite3.Connection) -> None:
        for number, name in enumerate(self.batches, 1):
            db.execute("insert into batches values(?, ?, 1)", (number, name))
            db.execute(
                "insert into sources values(?, ?, ?, ?, '', 1)", (number, number, f"{name}.csv", str(self.folder))
            )
        rows = [*self._rows()] if self.tasks < 5_000 else self._rows()
        for run in range(1, self.runs + 1):
            self._run(db, run)
        for row in rows:
            self._task(db, **row)
        db.execute("insert into tallies select batch_id, state, count(*) from tasks group by 1, 2")
        self._traffic(db)

    def _rows(self) -> Iterator[dict[str, Any]]:
        dice = random.Random(7)
        for n in range(1, self.tasks + 1):
            state, code, reason, quality = "done", "", "", dice.choice(QUALITIES) if self.trouble else "swapped"
            if self.trouble and n % 23 == 5:
                code, reason = MESSAGES[dice.randrange(len(MESSAGES))]
                state, reason, quality = "failed", reason.format(n=n), ""
            if self.trouble and n in (9, 31):
                state, code, reason, quality = "uncertain", "no-answer", "the connection was lost after the request", ""
            if self.trouble and n in (12, 40):
                state, code, reason, quality = "failed", "http-404", "the media host answered 404 twice", ""
            if self.trouble and n % 97 == 50:
                state, quality = "queued", ""
            row = {
                "n": n, "batch": n % len(self.batches) + 1, "key": f"clip-{n:05d}", "state": state, "code": code,
                "reason": reason, "quality": quality, "target": f"clips/clip-{n:05d}.mp4",
                "face": f"faces/{('anna', 'ben', 'chloe', 'dora')[n % 4]}.jpg",
                "consent": "" if n % 41 == 0 else f"release-{110 + n % 6}", "tags": ("hero;de", "de", "fr", "")[n % 4],
                "seconds": dice.lognormvariate(4.6, 0.4),
                "charged": None if n % 53 == 0 else round(dice.uniform(2, 9), 1),
            }  # fmt: skip
            yield row | (self.texts[n - 1] if n <= len(self.texts) else {})

    def _task(self, db: sqlite3.Connection, **row: Any) -> None:
        at = START + (self.runs - 1) * 86400 + row["n"] * (28_000 / self.tasks)
        state, is_done = row["state"], row["state"] == State.DONE
        batch = self.batches[row["batch"] - 1]
        stored = (
            (f"{batch}/clip-{row['n']:05d}.mp4", 1_000_000 + row["n"], f"{row['n']:064x}", self.runs)
            if is_done
            else (None,) * 4
        )
        attempts = 0 if state == State.QUEUED else 1
        db.execute(
            "insert into tasks(id, batch_id, source_id, key, line, position, generation, state, model, target, face,"
            " digest, output, consent, tags, attempts, paid, code, reason, changed_at, file, size, sha256, stored_by)"
            " values(?, ?, ?, ?, ?, ?, 1, ?, 'video-face-swap', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(row["n"], row["batch"], row["batch"], row["key"], row["n"] + 1, row["n"], state, row["target"]),
                *(row["face"], f"{row['n']:020x}", f"{batch}/clip-{row['n']:05d}.mp4", row["consent"], row["tags"]),
                *(attempts, attempts, row["code"], row["reason"], at + row["seconds"], *stored),
            ),
        )
        if attempts:
            self._attempt(db, row, at)
        if is_done and row["quality"]:
            self._finding(db, row, at)

    def _attempt(self, db: sqlite3.Connection, row: dict[str, Any], at: float) -> None:
        state = {"done": "succeeded", "uncertain": "unknown"}.get(row["state"], "failed")
        is_unsaved = row["code"] == "http-404"
        state = "succeeded" if is_unsaved else state
        is_over = state != "unknown"
        charged = row["charged"] if is_over and row["code"] != "422" else None
        db.execute(
            "insert into attempts(id, task_id, batch_id, run_id, number, ref, state, day, reserved, charged,"
            " submitted_at, accepted_at, ended_at, took, remote_id, account, code, reason, estimate,"
            " balance_before, balance_after)"
            " values(?, ?, ?, ?, 1, ?, ?, '2026-11-27', 6.0, ?, ?, ?, ?, ?, ?, 'https://api.crun.ai', ?, ?, 5.5, ?, ?)",
            (
                *(row["n"], row["n"], row["batch"], self.runs, f"ref-{row['n']}", state, charged, at),
                *(at + 1 if is_over else None, at + row["seconds"] if is_over else None),
                *(
                    row["seconds"] if is_over else None,
                    f"remote-{row['n']}" if is_over else None,
                    row["code"],
                    row["reason"],
                ),
                *((500.0, 494.0) if state == "unknown" else (None, None)),
            ),
        )
        if row["state"] == "failed":
            event = "unsaved" if is_unsaved else "generation-failed"
            db.execute(
                "insert into events(at, run_id, task_id, attempt_id, event, state, detail)"
                " values(?, ?, ?, ?, ?, 'failed', ?)",
                (at + row["seconds"], self.runs, row["n"], row["n"], event, row["reason"]),
            )

    def _finding(self, db: sqlite3.Connection, row: dict[str, Any], at: float) -> None:
        share = {"swapped": 1.0, "partly": 0.62, "unchanged": 0.0, "no_face": None}[row["quality"]]
        score = {"swapped": 0.93, "partly": 0.55, "unchanged": 0.04, "no_face": None}[row["quality"]]
        name = ""
        if self.strips:
            name = f"{row['n'] % 256:02x}/{row['n']:08x}.webp"
            path = pictures_folder(self.ledger) / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(strip(row["n"] % 12, row["quality"] != "unchanged"))
            path.chmod(0o600)
        evidence = json.dumps({"frames": 12, "reason": row.get("evidence", "the new face is in 7 of 12 frames")})
        db.execute(
            "insert into deliveries(task_id, batch_id, sha256, quality, share, score, evidence, strip, signed,"
            " delivered_at) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(row["n"], row["batch"], f"{row['n']:064x}", row["quality"], share, score, evidence.encode(), name),
                *(row["n"] % 2, at + row["seconds"] + 2),
            ),
        )

    def _run(self, db: sqlite3.Connection, run: int) -> None:
        start = START + (run - 1) * 86400
        summary = {
            "exit_code": 4 if self.trouble else 0, "reason": "2 uncertain; 9 failed" if self.trouble else "all done",
            "batch": list(self.batches), "counts": {},
            "credits": {"spent": 900.0 + 7 * run, "reserved": 12.0, "balance": 4321.0},
            "requests": {"submit": self.tasks, "poll": self.tasks + 40 * run, "refused_429": 3},
            "seconds": 28_000.0 + 600 * run,
            "quality": {"swapped": 17, "partly": 1, "unchanged": 1, "no_face": 1, "unknown": 0},
        }  # fmt: skip
        db.execute(
            "insert into runs(id, started_at, ended_at, pid, version, provider, account, exit_code, summary, out)"
            " values(?, ?, ?, 999999, ?, 'crun', 'f00', ?, ?, ?)",
            (
                *(run, start, start + 28_000 + 600 * run, __version__, summary["exit_code"], json.dumps(summary)),
                str(self.folder / "results"),
            ),
        )

    def _traffic(self, db: sqlite3.Connection) -> None:
        dice, start = random.Random(3), int(START + (self.runs - 1) * 86400)
        for minute in range(0, 28_000, 60):
            busy = 0 if 14_000 < minute < 15_800 else 1
            counts = {
                "submit": 4 * busy,
                "poll": dice.randrange(2, 8) * busy,
                "early": dice.randrange(0, 2) * busy,
                "balance": 1,
            }
            if 9_000 < minute < 9_800:
                counts["refused_429"] = 3
            if not busy:
                counts["maintenance_455"] = 1
            for kind, n in counts.items():
                db.execute("insert into traffic values(?, ?, ?, ?)", (self.runs, start + minute, kind, n))


@cache
def strip(number: int, is_swapped: bool) -> bytes:
    """Return a drawing of three moments, target above result, in the form and size of a real strip."""
    image = Image.effect_noise((480, 320), 19).convert("RGB")
    draw = ImageDraw.Draw(image, "RGBA")
    for column in range(3):
        for line in range(2):
            left, top = column * 160, line * 160
            hue = (number * 41 + column * 8) % 256
            draw.rectangle((left, top, left + 158, top + 158), fill=(hue, 120 + column * 20, 190 - hue // 2, 150))
            skin = (226, 180, 150, 255) if line == 0 or not is_swapped else (150, 100, 70, 255)
            draw.ellipse((left + 45, top + 25, left + 115, top + 130), fill=skin)
            draw.ellipse((left + 62, top + 65, left + 72, top + 73), fill=(30, 30, 30, 255))
            draw.ellipse((left + 88, top + 65, left + 98, top + 73), fill=(30, 30, 30, 255))
            draw.arc((left + 62, top + 85, left + 98, top + 112), 10, 170, fill=(110, 30, 30, 255), width=4)
    file = BytesIO()
    image.save(file, "WEBP", quality=30)
    return file.getvalue()
