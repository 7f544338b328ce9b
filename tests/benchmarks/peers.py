"""Peers of batchswap: scripts as people write them, which record nothing and lose failed tasks.

`python -m tests.benchmarks.peers naive BASE_URL TASKS '{"in_flight": 100, "interval": 0.5, "even": false}'`
`python -m tests.benchmarks.peers bare BASE_URL TASKS '{"workers": 32}'`
`python -m tests.benchmarks.peers recording BASE_URL TASKS '{"workers": 32, "folder": "/tmp/x"}'`
"""

import asyncio
import hashlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiolimiter import AsyncLimiter

PREFIX = "/api/v1/client/job"
BODY = {
    "model": "video-face-swap",
    "input": {"video_url": "https://cdn.example.com/clip.mp4", "new_face": "https://cdn.example.com/anna.jpg"},
}


async def naive(base_url: str, tasks: int, *, in_flight: int, interval: float, even: bool, rate: int = 20) -> None:
    """Run a worker per task with a limiter for requests and a fixed interval between two polls of a task.

    `even`: the limiter allows one request every 1/rate seconds, without an initial burst of `rate` requests.
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
    """Send the three requests of each task one after the other, in `workers` loops, and discard the results."""
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


class Record:
    """The smallest record as durable as a ledger: a state and an event per move, group commit, two syncs per file."""

    def __init__(self, folder: str, tasks: int) -> None:
        self.folder, self.open = folder, os.open(folder, os.O_RDONLY)
        self.waiting: list[tuple[int, str, str, asyncio.Future[None]]] = []
        self.committing: asyncio.Task[None] | None = None
        self.threads = ThreadPoolExecutor(3)
        self.db = sqlite3.connect(f"{folder}/record.db", isolation_level=None, check_same_thread=False)
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("pragma synchronous = full")
        self.db.execute("create table tasks(id integer primary key, state text, detail text)")
        self.db.execute("create table events(id integer primary key, task integer, state text, at real)")
        self.db.execute("begin")
        self.db.executemany("insert into tasks(id) values(?)", ((number,) for number in range(tasks)))
        self.db.execute("commit")

    async def move(self, number: int, state: str, detail: str = "") -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((number, state, detail, future))
        if self.committing is None or self.committing.done():
            self.committing = asyncio.create_task(self.commit())
        await future

    async def commit(self) -> None:
        while self.waiting:
            group, self.waiting = self.waiting, []
            self.db.execute("begin immediate")
            for number, state, detail, _ in group:
                self.db.execute("update tasks set state = ?, detail = ? where id = ?", (state, detail, number))
                self.db.execute("insert into events(task, state, at) values(?, ?, ?)", (number, state, time.time()))
            await asyncio.get_running_loop().run_in_executor(self.threads, self.db.execute, "commit")
            for *_, future in group:
                future.set_result(None)

    async def in_thread(self, work: Callable[..., None], *given: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self.threads, work, *given)

    def write(self, name: str, data: bytes) -> None:
        handle = os.open(f"{name}.part", os.O_CREAT | os.O_WRONLY, dir_fd=self.open)
        os.write(handle, data)
        os.fsync(handle)
        os.close(handle)

    def publish(self, name: str) -> None:
        os.link(f"{name}.part", name, src_dir_fd=self.open, dst_dir_fd=self.open)
        os.fsync(self.open)
        os.unlink(f"{name}.part", dir_fd=self.open)


async def recording(base_url: str, tasks: int, *, workers: int, folder: str) -> None:
    """Run the bare loop with each step on the disk before the next one, but without pacing, checks or resuming."""
    record, left = Record(folder, tasks), iter(range(tasks))

    async def work(session: aiohttp.ClientSession) -> None:
        for number in left:
            await record.move(number, "submitting")
            async with session.post(f"{base_url}{PREFIX}/CreateTask", json=BODY) as response:
                task_id = (await response.json(content_type=None))["data"]["task_id"]
            await record.move(number, "running", task_id)
            async with session.get(f"{base_url}{PREFIX}/TaskInfo", params={"task_id": task_id}) as response:
                (url,) = (await response.json(content_type=None))["data"]["result"]["media_urls"]
            await record.move(number, "fetching", url)
            async with session.get(url) as response:
                data = await response.read()
            await record.in_thread(record.write, f"{number}.mp4", data)
            await record.move(number, "verified", hashlib.sha256(data).hexdigest())
            await record.in_thread(record.publish, f"{number}.mp4")
            await record.move(number, "done")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work(session))


SCRIPTS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {"naive": naive, "bare": bare, "recording": recording}

if __name__ == "__main__":
    script, url, count, options = sys.argv[1:]
    asyncio.run(SCRIPTS[script](url, int(count), **json.loads(options)))
