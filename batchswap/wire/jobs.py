"""A task from its submit to its result."""

from collections.abc import Mapping
from typing import Any

import msgspec

from batchswap.wire.values import Data, integer, mapping, number, price, text, usable_id

PENDING, RUNNING, SUCCESS, FAILED = "pending", "running", "success", "failed"
"""Values of TaskInfo's `status`; anything else counts as still running."""

LONGEST = 7 * 86400.0
"""Seconds. What is said to have taken longer than a week, or less than nothing, was not measured."""


class CreateTask(msgspec.Struct, frozen=True):
    """The body of CreateTask and of EstimateTask. `input` holds URLs by the API's field names."""

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
    """`data` of an accepted CreateTask. None: the API said yes without a usable id, so nobody knows."""

    task_id: str | None

    @classmethod
    def from_json(cls, data: Any) -> "CreateTaskAccepted":
        return cls(usable_id(mapping(data).get("task_id")))


class Result(Data, frozen=True):
    """What a finished task brought. `media_urls` may be empty, also on success: then ask again."""

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
    """`data` of TaskInfo, and the body of a callback. Times are Unix seconds. `status` is lower case.

    `credits` is what the task has cost, None where the API does not say.
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
        """A callback's JSON: the same structure, or wrapped as `{"data": …}`."""
        found = mapping(body)
        inner = found.get("data")
        return cls.from_json(inner if isinstance(inner, Mapping) and "task_id" not in found else found)

    @property
    def took(self) -> float | None:
        """Seconds from its creation to its end. None where the API does not say them, or cannot mean them."""
        if self.create_at is None or self.complete_at is None:
            return None
        seconds = self.complete_at - self.create_at
        return seconds if 0.0 <= seconds <= LONGEST else None
