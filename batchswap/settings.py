"""The settings of a run, checked and frozen. A command builds them once and passes them down."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

Provider = Literal["crun", "local"]
Mode = Literal["run", "submit", "collect", "tick"]
Positive = Annotated[int, msgspec.Meta(ge=1, lt=10**9)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=10**9)]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Period = Annotated[float, msgspec.Meta(gt=0.0, le=366 * 86400.0)]
_DEPENDS: Any = msgspec.UNSET
"""Placeholder for a default that depends on another setting. `__post_init__` replaces it."""


class Settings(msgspec.Struct, frozen=True):
    """Times in seconds, money in credits, sizes in bytes. docs/reference.md explains each option."""

    db: Path = Path("batchswap.db")
    out: Path = Path("results")
    provider: Provider = "crun"
    base_url: str = "https://api.crun.ai"
    proxy: str = ""
    """The URL of a proxy for all hosts but this machine, or "env" for the proxy variables; "": no proxy."""
    rate_limit: Positive | None = _DEPENDS
    """Maximum requests in any `rate_period` seconds; None: no limit. Default: 20, or None for the local provider."""
    rate_period: Period = 10.0
    in_flight: Positive = _DEPENDS
    """Maximum tasks in progress at the API. Default: 100, or two for each core with the local provider."""
    workers: Positive = 16
    downloads: Positive = 4
    ahead: Positive = 16
    """Tasks to upload and price before their turn to be submitted."""
    retries: Count = 3
    paid_attempts: Positive = 1
    budget: NotNegative | None = None
    budget_per_day: NotNegative | None = None
    deadline: float | None = None
    """Unix time after which no request is sent."""
    ends_at: float | None = None
    """The same in the time of `batchswap.clock.elapsed`, for --max-duration. Setting the clock does not move it."""
    callback_url: str | None = None
    callback_host: str | None = None
    callback_port: int = 0
    task_timeout: NotNegative = 6 * 3600.0
    patience: NotNegative = _DEPENDS
    """Longest time without a useful answer from the API before the run ends. Default: two hours, or 30 seconds for
    runs that leave work to the next one."""
    same_refusals: Positive = 20
    """Number of submits refused in the same way, one after the other, that ends the run."""
    min_free: Size = 1_000_000_000
    upload_ttl: NotNegative = 24 * 3600.0
    max_upload: Size = 512 * 1024 * 1024
    batches: tuple[str, ...] = ()
    filter: str = ""
    tags: tuple[str, ...] = ()
    limit: Count | None = None
    preflight: bool = False
    """Look for a face in every local target before it is uploaded, and fail the tasks without one."""
    fetch: Size = 0
    """Largest target that is a URL and is downloaded for this; 0: none."""
    mode: Mode = "run"
    """"run": submit and collect until nothing is left. "submit": submit as much as allowed, poll nothing, and leave.
    "collect": never submit. "tick": collect tasks that have probably ended, submit as much as allowed, leave."""
    duplicates: Literal["refuse", "reuse", "pay"] = "refuse"
    """How to treat rows whose inputs another batch has finished or is working on."""

    score: bool = True
    """Whether to examine every result. It needs the extra `proof`; without it, the quality of results is unknown."""
    require_swap: bool = False
    """Whether a result that is not a swap ends the run with exit code 3."""

    sign: Path | None = None
    """The folder of the keys with which results are signed; None: results are not signed."""
    timestamp_url: str = ""
    """The time-stamp server (RFC 3161) for signatures."""
    label: bool = True
    """Whether results without a label get one in their metadata: they are synthetic."""
    visible_label: str = ""
    """The text that is drawn onto every frame of the results, which are encoded again for it; "": none."""

    def __repr__(self) -> str:
        """Return all fields, without the user and the password of a proxy."""
        fields = msgspec.structs.asdict(self) | {"proxy": self.proxy.rpartition("@")[2]}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in fields.items())})"

    def __post_init__(self) -> None:
        """Fill in the defaults that depend on other settings."""
        is_local = self.provider == "local"
        defaults = {
            "rate_limit": None if is_local else 20,
            "in_flight": 2 * cores() if is_local else 100,
            "patience": 30.0 if self.leaves else 2 * 3600.0,
        }
        for name, value in defaults.items():
            if getattr(self, name) is _DEPENDS:
                msgspec.structs.force_setattr(self, name, value)

    @property
    def leaves(self) -> bool:
        """Return whether the run ends while tasks are in progress, and another run collects them."""
        return self.mode in ("submit", "tick")

    @property
    def has_budget(self) -> bool:
        """Return whether the price of a task must be known before it is submitted."""
        return self.budget is not None or self.budget_per_day is not None


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
