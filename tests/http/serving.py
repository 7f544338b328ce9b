"""Run a server in its own process, to be killed: `python -m tests.http.serving FOLDER SECONDS`.

It prints its base URL, and then serves until its standard input ends or it is killed.
"""

import asyncio
import sys
from pathlib import Path

from batchswap.local.server.app import start
from batchswap.local.server.settings import ServerSettings
from tests.http.fake_engine import KEY, PretendEngine


async def serve(folder: Path, seconds: float) -> None:
    settings = ServerSettings(folder, keys=(KEY,), workers=2, callback_waits=(0.05,) * 5)
    async with start(settings, PretendEngine(seconds)) as server:
        print(server.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
