"""Who asks the API, and the window that every request of that account goes through."""

import msgspec

from batchswap.clock import Clock
from batchswap.ratelimit.rule import Rate
from batchswap.ratelimit.shared_window import NoWindow, SharedWindow, fingerprint
from batchswap.settings import Settings
from batchswap.state_folder import state_folder


class Account(msgspec.Struct, frozen=True):
    """Who asks. `name` is what attempts and uploads belong to: a base URL, or "local". `is_idempotent`: the provider
    honours Idempotency-Key, so that an uncertain attempt is settled by sending it again."""

    name: str
    base_url: str
    key: str
    is_idempotent: bool = False

    @property
    def owner(self) -> str:
        """What uploads and detections belong to: one key, where a key is an account; the local server's changes."""
        return self.name if self.name != self.base_url else fingerprint(self.key, self.name)


def open_pacer(
    settings: Settings, account: Account, clock: Clock, patience: float | None = None
) -> SharedWindow | NoWindow:
    """Return the key's window, which everything that asks this account's API goes through. The caller closes it.

    `patience`: seconds for which a pause is kept that another process was asked for; None: as --patience says.
    """
    if settings.rate_limit is None:
        return NoWindow(clock)
    path = state_folder() / f"window-{fingerprint(account.key, account.base_url)}.db"
    rate = Rate(settings.rate_limit, settings.rate_period)
    if patience is None:
        return SharedWindow(path, rate, clock, settings.patience)
    return SharedWindow(path, rate, clock, patience, adopts_rate=True)
