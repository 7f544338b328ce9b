"""Drawn schedules: the faults of a night, and the moments at which the process dies."""

from dataclasses import dataclass, field

NEVER_TAKEN = ("429", "429+", "455", "402", "422", "404", "unsent", "hidden-429", "dropped", "not-taken-500")
"""Faults of a submit that was not accepted. The last two do not show this to the client."""
TAKEN = ("lost", "no-id", "bad-id", "gateway", "contradiction", "named-429", "slow")
"""Faults of a submit that was accepted."""
UNCLEAR = ("dropped", "not-taken-500", "lost", "no-id", "bad-id", "gateway", "contradiction", "named-429")
"""Faults after which the same inputs must not be submitted again."""
POLL_FAULTS = ("429", "429+", "455", "500", "dropped", "unsent", "404", "402", "422", "foreign", "no-media", "odd",
               "empty", "not-json", "slow")  # fmt: skip
FREE_FAULTS = ("429", "429+", "455", "500", "dropped", "unsent", "empty", "not-json")
DOWNLOAD_FAULTS = ("gone", "truncated", "too-large")
CALLBACKS = ("on time", "twice", "lost", "early", "late", "foreign", "nameless", "nobody's")
RETRY_AFTER = 30.0


@dataclass(frozen=True)
class Kill:
    """A SIGKILL `seconds` after the start, or at the `commit`-th commit: before it, or when it is on the disk."""

    seconds: float | None = None
    commit: int | None = None
    after: bool = False


@dataclass(frozen=True)
class Schedule:
    """All drawn events. Each call takes the next fault. After the last one, every call succeeds."""

    tasks: int
    submits: list[str | None] = field(default_factory=list)
    polls: list[str | None] = field(default_factory=list)
    free: list[str | None] = field(default_factory=list)
    downloads: list[str | None] = field(default_factory=list)
    callbacks: list[str] | None = None
    """None: this batch uses none."""
    storms: list[tuple[float, float, str]] = field(default_factory=list)
    """Start, duration, and the fault of every call in that time."""
    kills: list[Kill] = field(default_factory=list)
    jumps: list[tuple[float, float]] = field(default_factory=list)
    """Times at which the wall clock jumps, and the differences."""
    median: float = 6.0
    failing: float = 0.0
    limit: int | None = None
    in_flight: int = 20
    workers: int = 4
    budget: float | None = None
    paid_attempts: int = 1
