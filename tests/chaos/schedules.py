"""What is drawn: the faults of a night, and the moments at which the process dies."""

from dataclasses import dataclass, field

NEVER_TAKEN = ("429", "429+", "455", "402", "422", "404", "unsent", "hidden-429", "dropped", "not-taken-500")
"""Faults of a submit that was not accepted; the last two do not say so."""
TAKEN = ("lost", "no-id", "bad-id", "gateway", "contradiction", "named-429", "slow")
"""Faults of a submit that was accepted."""
UNCLEAR = ("dropped", "not-taken-500", "lost", "no-id", "bad-id", "gateway", "contradiction", "named-429")
"""After these nobody may submit the same inputs again."""
POLL_FAULTS = ("429", "429+", "455", "500", "dropped", "unsent", "404", "402", "422", "foreign", "no-media", "odd",
               "empty", "not-json", "slow")  # fmt: skip
FREE_FAULTS = ("429", "429+", "455", "500", "dropped", "unsent", "empty", "not-json")
DOWNLOAD_FAULTS = ("gone", "truncated", "too-large")
CALLBACKS = ("on time", "twice", "lost", "early", "late", "foreign", "nameless", "nobody's")
RETRY_AFTER = 30.0


@dataclass(frozen=True)
class Kill:
    """SIGKILL `seconds` into a life, or at its `commit`-th commit: before it, or when it is on the disk."""

    seconds: float | None = None
    commit: int | None = None
    after: bool = False


@dataclass(frozen=True)
class Schedule:
    """Everything that is drawn. Faults are taken one a call, in order; then all goes well."""

    tasks: int
    submits: list[str | None] = field(default_factory=list)
    polls: list[str | None] = field(default_factory=list)
    free: list[str | None] = field(default_factory=list)
    downloads: list[str | None] = field(default_factory=list)
    callbacks: list[str] | None = None
    """None: this batch does without."""
    storms: list[tuple[float, float, str]] = field(default_factory=list)
    """From, for how long, and what every call gets then."""
    kills: list[Kill] = field(default_factory=list)
    jumps: list[tuple[float, float]] = field(default_factory=list)
    """When the wall clock jumps, and by how much."""
    median: float = 6.0
    failing: float = 0.0
    limit: int | None = None
    in_flight: int = 20
    workers: int = 4
    budget: float | None = None
    paid_attempts: int = 1
