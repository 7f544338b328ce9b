"""Everything a run can be told, checked and frozen. Built once, at the edge, and passed down."""

from pathlib import Path
from typing import Literal

import msgspec

Provider = Literal["crun", "local"]


class Settings(msgspec.Struct, frozen=True):
    """Times in seconds, money in credits, sizes in bytes. The README's table of options says what each is for."""

    db: Path = Path("batchswap.db")
    out: Path = Path("results")
    provider: Provider = "crun"
    base_url: str = "https://api.crun.ai"
    rate_limit: int | None = 20
    """Requests in any `rate_period` seconds; None: no limit is known."""
    rate_period: float = 10.0
    in_flight: int = 100
    workers: int = 16
    downloads: int = 4
    ahead: int = 16
    """Tasks that are made ready (uploaded, priced) before there is a place for them."""
    retries: int = 3
    paid_attempts: int = 1
    budget: float | None = None
    budget_per_day: float | None = None
    deadline: float | None = None
    """Unix time after which nothing more is asked of the API."""
    ends_at: float | None = None
    """The same in monotonic time (--max-duration): no setting of the clock moves it."""
    callback_url: str | None = None
    callback_host: str | None = None
    callback_port: int = 0
    task_timeout: float = 6 * 3600.0
    patience: float = 2 * 3600.0
    """How long the API may stay unavailable before the run ends."""
    same_refusals: int = 20
    """Submits in a row that are refused in the same way before the run ends."""
    min_free: int = 1_000_000_000
    upload_ttl: float = 24 * 3600.0
    max_upload: int = 512 * 1024 * 1024
    batches: tuple[str, ...] = ()
    filter: str = ""
    tags: tuple[str, ...] = ()
    limit: int | None = None
    duplicates: Literal["refuse", "reuse", "pay"] = "refuse"
    """What is done with rows whose inputs another batch has done or is doing."""

    @property
    def has_budget(self) -> bool:
        """Whether what a task may cost must be known before it is submitted."""
        return self.budget is not None or self.budget_per_day is not None
