"""The account at the API, and its rate limit window."""

import msgspec

from batchswap.clock import Clock
from batchswap.ratelimit.rule import Rate
from batchswap.ratelimit.shared_window import NoWindow, SharedWindow, fingerprint
from batchswap.settings import Settings
from batchswap.state_folder import state_folder


class Account(msgspec.Struct, frozen=True):
    """An account. `name` is its base URL or "local", and attempts belong to it.

    If `is_idempotent`, the provider supports Idempotency-Key: an uncertain attempt is settled by sending it again.
    """

    name: str
    base_url: str
    key: str
    is_idempotent: bool = False

    @property
    def owner(self) -> str:
        """The owner of uploads and detections: the key's fingerprint, or "local", where the key changes."""
        return self.name if self.name != self.base_url else fingerprint(self.key, self.name)


def open_pacer(
    settings: Settings, account: Account, clock: Clock, patience: float | None = None
) -> SharedWindow | NoWindow:
    """Return the key's window, which all requests of the account use. The caller closes it.

    `patience` is the longest time to respect a pause, in seconds. With None, --patience applies.
    """
    if settings.rate_limit is None:
        return NoWindow(clock)
    path = state_folder() / f"window-{fingerprint(account.key, account.base_url)}.db"
    rate = Rate(settings.rate_limit, settings.rate_period)
    if patience is None:
        return SharedWindow(path, rate, clock, settings.patience)
    return SharedWindow(path, rate, clock, patience, adopts_rate=True)
