"""A result's way onto the disk: .part, Range, verify, then the final name.

    verified = await downloader.fetch(url, place, kind="video", attempt=1)
    ...                                  # the ledger records what is about to appear
    await publish(place, verified)       # after this, and only then, the task is done

Every error is a DownloadError: `stale` asks for a fresh URL, `final` says that trying again is useless. Reasons:
"gone" (stale), "http", "unavailable" (5xx, 429; maybe with `retry_after`), "unreachable", "timeout", "connection",
"truncated", "range", "redirects", "not-media", "busy", "part-gone", "source-gone", "disk-full", "disk"; and final:
"too-large", "bad-url", "private-address", "outside", "output-taken".
"""

from batchswap.downloads.address_guard import is_on_private_address
from batchswap.downloads.downloader import Downloader
from batchswap.downloads.folder_trial import Trial, try_out
from batchswap.downloads.media_check.boxes import movie_seconds
from batchswap.downloads.media_check.containers import false_ending, inspect
from batchswap.downloads.media_check.pictures import picture_size
from batchswap.downloads.output_paths import Place
from batchswap.downloads.part_file import Verified
from batchswap.downloads.publish import copy_part, is_published, publish
from batchswap.downloads.resume import Glance

__all__ = [
    "Downloader",
    "Glance",
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
