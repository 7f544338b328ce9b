"""Decide which messages are sent during a run: each cause once. Pure: the caller passes the time."""

from math import inf

import msgspec

from batchswap.events import LogEvent

OUTAGE = 15 * 60.0
"""Seconds without the API after which a message is sent."""
GRACE = 20.0
"""Seconds that a run must continue after trouble: one that ends at once has its message at the end."""
_DOWN = {LogEvent.API_UNAVAILABLE, LogEvent.API_MAINTENANCE, LogEvent.API_PAUSE}


class Alert(msgspec.Struct, frozen=True):
    """Trouble during a run. `cause` is a key of ALERTS."""

    cause: str
    words: str


class AlertRules:
    """Learns from the events of a run."""

    def __init__(self, outage: float = OUTAGE, grace: float = GRACE) -> None:
        self._outage, self._grace = outage, grace
        self._due: dict[str, tuple[float, str]] = {}
        self._sent: set[str] = set()

    def note(self, event: str, words: str, cause: str, now: float) -> None:
        """Note an event. `cause`: that of a run that stops submitting."""
        if event == LogEvent.API_AVAILABLE:
            self._due.pop("outage", None)
        elif event in _DOWN:
            self._expect("outage", words, now + self._outage)
        elif event == LogEvent.LEDGER_FAILED:
            self._expect("disk", words, now + self._grace)
        elif event == LogEvent.RUN_STOPPING and cause:
            self._expect(cause, words, now + self._grace)

    def _expect(self, cause: str, words: str, at: float) -> None:
        if cause not in self._sent:
            self._due.setdefault(cause, (at, words))

    @property
    def due_at(self) -> float:
        """Return when the next message is due; inf if none is."""
        return min((at for at, _ in self._due.values()), default=inf)

    def take(self, now: float) -> list[Alert]:
        """Return the messages that are due, each cause once in a run."""
        found = [Alert(cause, words) for cause, (at, words) in self._due.items() if at <= now]
        for each in found:
            del self._due[each.cause]
            self._sent.add(each.cause)
        return found
