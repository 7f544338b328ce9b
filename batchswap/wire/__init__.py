"""The API's JSON (api.md) as frozen values, shared by the client and the local server.

Missing fields, extra fields and fields of another type never raise. Bytes that are no envelope raise WireError.
"""

from batchswap.wire.envelope import (
    BALANCE,
    CREATE_TASK,
    DETECT_IMAGE,
    DETECT_RESULT,
    DETECT_VIDEO,
    ESTIMATE_TASK,
    GENERATION_FAILED,
    IDEMPOTENCY_HEADER,
    KEY_HEADER,
    OK,
    PREFIX,
    TASK_INFO,
    UPLOAD_URL,
    Envelope,
)
from batchswap.wire.free_calls import SUCCEEDED, Balance, DetectAccepted, DetectedFace, Detection, Estimate, UploadUrl
from batchswap.wire.jobs import FAILED, PENDING, RUNNING, SUCCESS, CreateTask, CreateTaskAccepted, Result, TaskInfo
from batchswap.wire.lenient_json import find_task_id, read
from batchswap.wire.values import integer, mapping, number, text, usable_id

__all__ = [
    "BALANCE",
    "CREATE_TASK",
    "DETECT_IMAGE",
    "DETECT_RESULT",
    "DETECT_VIDEO",
    "ESTIMATE_TASK",
    "FAILED",
    "GENERATION_FAILED",
    "IDEMPOTENCY_HEADER",
    "KEY_HEADER",
    "OK",
    "PENDING",
    "PREFIX",
    "RUNNING",
    "SUCCEEDED",
    "SUCCESS",
    "TASK_INFO",
    "UPLOAD_URL",
    "Balance",
    "CreateTask",
    "CreateTaskAccepted",
    "DetectAccepted",
    "DetectedFace",
    "Detection",
    "Envelope",
    "Estimate",
    "Result",
    "TaskInfo",
    "UploadUrl",
    "find_task_id",
    "integer",
    "mapping",
    "number",
    "read",
    "text",
    "usable_id",
]
