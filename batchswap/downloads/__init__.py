"""Download results: write a part file, resume it, verify it, and then give it the final name.

    verified = await downloader.fetch(url, place, kind="video", attempt=1)
    ...                                  # the ledger records the file that is about to appear
    await publish(place, verified)       # the task is done only after this

Every error is a DownloadError. `stale`: a fresh URL is needed; `final`: a retry is useless. Reasons: "gone" (stale),
"http", "unavailable" (5xx, 429; may have `retry_after`), "unreachable", "timeout", "connection", "truncated", "range",
"redirects", "not-media", "busy", "part-gone", "source-gone", "disk-full", "disk"; and final: "too-large", "bad-url",
"private-address", "outside", "output-taken".
"""

from batchswap.downloads.address_guard import is_on_private_address
from batchswap.downloads.downloader import Downloader
from batchswap.downloads.folder_trial import Trial, try_out
from batchswap.downloads.media_check.boxes import movie_seconds
from batchswap.downloads.media_check.containers import false_ending, inspect
from batchswap.downloads.media_check.pictures import picture_size
from batchswap.downloads.output_paths import Place
from batchswap.downloads.part_file import Verified
from batchswap.downloads.publish import copy_part, discard_part, discard_signed, is_published, publish, unpublish
from batchswap.downloads.rejected_files import REJECTED, move, rejected_name, rejected_names
from batchswap.downloads.resume import Glance

__all__ = [
    "REJECTED",
    "Downloader",
    "Glance",
    "Place",
    "Trial",
    "Verified",
    "copy_part",
    "discard_part",
    "discard_signed",
    "false_ending",
    "inspect",
    "is_on_private_address",
    "is_published",
    "move",
    "movie_seconds",
    "picture_size",
    "publish",
    "rejected_name",
    "rejected_names",
    "try_out",
    "unpublish",
]
