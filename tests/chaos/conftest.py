"""Fixtures of this folder: a working directory with a vendor, and a ledger that knows the durations of tasks."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.chaos.shop import Shop
from tests.chaos.vendor import selling
from tests.ports import callback_options

for name, examples in (("quick", 20), ("soak", 300)):
    settings.register_profile(
        f"chaos-{name}",
        max_examples=examples,
        deadline=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # explaining takes longer than finding
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
PROFILE = settings.get_profile(f"chaos-{os.environ.get('CHAOS_PROFILE', 'quick')}")
"""`make soak` draws more."""


@pytest.fixture(scope="session")
def _experience(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a ledger with a finished batch. Without it, no poll would be sent in the first seconds."""
    folder = tmp_path_factory.mktemp("experience")
    with selling() as vendor:
        shop = Shop(folder, vendor)
        shop.rows(20, "w")
        (folder / "spring.csv").rename(folder / "winter.csv")
        done = shop.call(*shop.arguments(*callback_options(), "--rate", "none", manifest="winter.csv"))
        assert done.exit_code == 0, done.output
    with closing(sqlite3.connect(folder / "b.db")) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    return folder / "b.db"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A working directory without any earlier run."""
    with selling() as vendor:
        yield Shop(tmp_path, vendor)


@pytest.fixture
def old_shop(shop: Shop, _experience: Path) -> Shop:
    """A working directory with a ledger that has finished its first batch."""
    (shop.folder / "b.db").write_bytes(_experience.read_bytes())
    return shop
