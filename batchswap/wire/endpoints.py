"""Paths and headers (api.md, "Endpoints")."""

PREFIX = "/api/v1/client"
CREATE_TASK = f"{PREFIX}/job/CreateTask"
TASK_INFO = f"{PREFIX}/job/TaskInfo"
ESTIMATE_TASK = f"{PREFIX}/job/EstimateTask"
BALANCE = f"{PREFIX}/account/balance"
UPLOAD_URL = f"{PREFIX}/files/upload-url"
DETECT_VIDEO = f"{PREFIX}/job/detect-face-video"
DETECT_IMAGE = f"{PREFIX}/job/detect-face-image"
DETECT_RESULT = f"{PREFIX}/job/detect-face-result"

KEY_HEADER = "x-api-key"
IDEMPOTENCY_HEADER = "Idempotency-Key"
