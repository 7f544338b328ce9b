"""A result's way onto the disk: .part, Range, verify, then the final name.

    verified = await downloader.fetch(url, place, kind="video", attempt=1)
    ...                                  # the ledger records what is about to appear
    await publish(place, verified)       # after this, and only then, the task is done

Every error is a DownloadError: `stale` asks for a fresh URL, `final` says that trying again is useless. Reasons:
"gone" (stale), "http", "unavailable" (5xx, 429; maybe with `retry_after`), "unreachable", "timeout", "connection",
"truncated", "range", "redirects", "not-media", "busy", "part-gone", "source-gone", "disk-full", "disk"; and final:
"too-large", "bad-url", "private-address", "outside", "output-taken".
"""

from batchswap.downloads.addresses import is_on_private_address
from batchswap.downloads.containers import Kind, inspect
from batchswap.downloads.copies import copy_part
from batchswap.downloads.durations import movie_seconds
from batchswap.downloads.endings import false_ending
from batchswap.downloads.fetching import Downloader
from batchswap.downloads.glances import Glance
from batchswap.downloads.parts import Verified
from batchswap.downloads.places import Place
from batchswap.downloads.publishing import is_published, publish
from batchswap.downloads.sizes import picture_size
from batchswap.downloads.trial import Trial, try_out

__all__ = [
    "Downloader",
    "Glance",
    "Kind",
    "Place",
    "Trial",
    "Verified",
    "copy_part",
    "false_ending",
    "inspect",
    "is_on_private_address",
    "is_published",
    "movie_seconds",
    "picture_size",
    "publish",
    "try_out",
]
