"""Bodies and data of CreateTask, TaskInfo and callbacks."""

from collections.abc import Mapping
from typing import Any

import msgspec

from batchswap.wire.values import Data, integer, mapping, number, price, text, usable_id

PENDING, RUNNING, SUCCESS, FAILED = "pending", "running", "success", "failed"
"""Values of TaskInfo's `status`. Any other value means that the task is still running."""

LONGEST = 7 * 86400.0
"""Seconds. Durations beyond a week, and negative ones, are not believed."""


class CreateTask(msgspec.Struct, frozen=True):
    """The body of CreateTask and EstimateTask. `input` maps the API's field names to URLs."""

    model: str
    input: dict[str, Any]
    callback_url: str | None = None

    @classmethod
    def from_json(cls, data: Any) -> "CreateTask":
        found = mapping(data)
        return cls(text(found.get("model")), dict(mapping(found.get("input"))), text(found.get("callback_url")) or None)

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "input": self.input}
        if self.callback_url is not None:
            body["callback_url"] = self.callback_url
        return body


class CreateTaskAccepted(Data, frozen=True):
    """`data` of an accepted CreateTask. None means that the answer has no usable id, so the submit is unclear."""

    task_id: str | None

    @classmethod
    def from_json(cls, data: Any) -> "CreateTaskAccepted":
        return cls(usable_id(mapping(data).get("task_id")))


class Result(Data, frozen=True):
    """The result of a finished task. `media_urls` may be empty even on success; then poll again."""

    code: int | None = None
    message: str = ""
    media_urls: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Any) -> "Result | None":
        if not isinstance(data, Mapping):
            return None
        urls = data.get("media_urls")
        urls = [urls] if isinstance(urls, str) else urls if isinstance(urls, list) else []
        return cls(
            integer(data.get("code")), text(data.get("message")), tuple(u for u in urls if isinstance(u, str) and u)
        )


class TaskInfo(Data, frozen=True):
    """`data` of TaskInfo, and the body of a callback. Times are Unix seconds. `status` is in lower case.

    `credits` is the price of the task, None if the API does not send it.
    """

    task_id: str
    status: str
    param: Any = None
    create_at: float | None = None
    complete_at: float | None = None
    duration_s: float | None = None
    credits: float | None = None
    result: Result | None = None
    provider: str = ""
    model_version: str = ""
    source: str = ""

    @classmethod
    def from_json(cls, data: Any) -> "TaskInfo":
        found = mapping(data)
        return cls(
            task_id=text(found.get("task_id")),
            status=text(found.get("status")).strip().lower(),
            param=found.get("param"),
            create_at=number(found.get("create_at")),
            complete_at=number(found.get("complete_at")),
            duration_s=number(found.get("duration_s")),
            credits=price(found.get("credits")),
            result=Result.from_json(found.get("result")),
            provider=text(found.get("provider")),
            model_version=text(found.get("model_version")),
            source=text(found.get("source")),
        )

    @classmethod
    def from_callback(cls, body: Any) -> "TaskInfo":
        """Read a callback's JSON: the same object as in TaskInfo, or that object as `{"data": …}`."""
        found = mapping(body)
        inner = found.get("data")
        return cls.from_json(inner if isinstance(inner, Mapping) and "task_id" not in found else found)

    @property
    def took(self) -> float | None:
        """Return the seconds from creation to completion; None if the API does not send credible times."""
        if self.create_at is None or self.complete_at is None:
            return None
        seconds = self.complete_at - self.create_at
        return seconds if 0.0 <= seconds <= LONGEST else None
