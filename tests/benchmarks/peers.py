"""What batchswap is measured against: the scripts that people write. No ledger, no record, no retry of what is lost.

`python -m tests.benchmarks.peers naive BASE_URL TASKS '{"in_flight": 100, "interval": 0.5, "even": false}'`
`python -m tests.benchmarks.peers bare BASE_URL TASKS '{"workers": 32}'`
"""

import asyncio
import json
import sys
from typing import Any

import aiohttp
from aiolimiter import AsyncLimiter

PREFIX = "/api/v1/client/job"
BODY = {
    "model": "video-face-swap",
    "input": {"video_url": "https://cdn.example.com/clip.mp4", "new_face": "https://cdn.example.com/anna.jpg"},
}


async def naive(base_url: str, tasks: int, *, in_flight: int, interval: float, even: bool, rate: int = 20) -> None:
    """A worker per task, a limiter around every request, a fixed interval between two polls of a task.

    `even`: the limiter lets one request out every 1/rate seconds instead of a burst of `rate` first.
    """
    limiter = AsyncLimiter(1, 1 / rate) if even else AsyncLimiter(rate, 1)
    places = asyncio.Semaphore(in_flight)

    async def ask(call: Any) -> Any:
        while True:
            async with limiter, call() as response:
                answer = await response.json(content_type=None)
            if answer["code"] == 200:
                return answer["data"]
            await asyncio.sleep(interval)

    async def work(session: aiohttp.ClientSession) -> None:
        async with places:
            task_id = (await ask(lambda: session.post(f"{base_url}{PREFIX}/CreateTask", json=BODY)))["task_id"]
            url, status = f"{base_url}{PREFIX}/TaskInfo?task_id={task_id}", ""
            while status != "success":
                await asyncio.sleep(interval)
                status = (await ask(lambda: session.get(url)))["status"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(work(session))


async def bare(base_url: str, tasks: int, *, workers: int) -> None:
    """The three requests of each task, one after the other, by `workers` loops; what comes is read and forgotten."""
    left = iter(range(tasks))

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in left:
            async with session.post(f"{base_url}{PREFIX}/CreateTask", json=BODY) as response:
                task_id = (await response.json(content_type=None))["data"]["task_id"]
            async with session.get(f"{base_url}{PREFIX}/TaskInfo", params={"task_id": task_id}) as response:
                (url,) = (await response.json(content_type=None))["data"]["result"]["media_urls"]
            async with session.get(url) as response:
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work(session))


if __name__ == "__main__":
    script, url, count, options = sys.argv[1:]
    work = naive if script == "naive" else bare
    asyncio.run(work(url, int(count), **json.loads(options)))
