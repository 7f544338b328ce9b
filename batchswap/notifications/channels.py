"""Where messages about runs are sent."""

import os

import msgspec

from batchswap.network import routes_of
from batchswap.notifications.apprise_sender import check_addresses
from batchswap.notifications.http_call import check_private_url
from batchswap.notifications.occasion import NotifyOn
from batchswap.notifications.webhook import find_secret


class Channels(msgspec.Struct, frozen=True):
    """The addresses of one command, all of them secrets. `repr` does not show them."""

    notify: tuple[str, ...] = ()
    notify_on: NotifyOn = "trouble"
    ping_url: str = ""
    webhook_url: str = ""
    secret: str = ""
    """The key of the webhook's signatures."""
    proxy: str = ""
    """ "" for none, "env" for those of the environment, or a URL."""

    def __repr__(self) -> str:
        return f"Channels({len(self.notify)} addresses, {self.notify_on}, {bool(self.ping_url)}, {self.has_webhook})"

    @property
    def has_webhook(self) -> bool:
        return bool(self.webhook_url)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the addresses of people; none with --notify-on never."""
        return () if self.notify_on == "never" else self.notify

    @property
    def is_empty(self) -> bool:
        return not (self.addresses or self.ping_url or self.webhook_url)


def open_channels(
    notify: tuple[str, ...], notify_on: NotifyOn, ping_url: str | None, webhook_url: str | None, proxy: str = ""
) -> Channels:
    """Return the channels. Raise UsageError for one that cannot be used, before anything is paid."""
    routes_of(proxy)  # raises
    secret = ""
    if ping_url:
        check_private_url("--ping-url", ping_url)
    if webhook_url:
        check_private_url("--webhook-url", webhook_url)
        secret = find_secret(os.environ)
    found = Channels(tuple(dict.fromkeys(notify)), notify_on, ping_url or "", webhook_url or "", secret, proxy)
    check_addresses(found.addresses, proxy)
    return found
