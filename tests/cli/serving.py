"""The local server in its own process with a quick engine: `python -m tests.cli.serving FOLDER`.

It prints its base URL and serves until its standard input ends or it is killed.
"""

import asyncio
import os
import sys
from pathlib import Path

from batchswap.local.server.app import start
from batchswap.local.server.settings import ServerSettings
from tests.cli.quick import KEY, QuickEngine


async def serve(folder: Path) -> None:
    key = os.environ.get("BATCHSWAP_SERVE_KEY", KEY)
    async with start(ServerSettings(folder, keys=(key,), workers=2), QuickEngine()) as server:
        print(server.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
