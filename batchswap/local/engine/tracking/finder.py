"""Find faces with MediaPipe's Face Landmarker: 478 points for each face in a picture."""

from typing import Self

import cv2
import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

from batchswap.local.engine import model
from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import ByteArray, Floats

MOST_FACES = 6
LONGEST = 1280
"""Pixels on the longer side. The network uses 256 pixels across a face, so a larger picture only takes longer."""
SHORTEST = 480
"""Pixels on the longer side. Enlarging a tiny picture to this size makes its faces steadier."""


class Finder:
    """Finds the faces of one picture after another. Close it after use."""

    def __init__(self, *, video: bool, confidence: float = 0.5) -> None:
        mode = vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE
        self._video = video
        self._next = 0
        # If limited to one face, MediaPipe smooths the points itself and lags. With more, it does not.
        self._task = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(model.checked_path())),
                running_mode=mode,
                num_faces=MOST_FACES,
                min_face_detection_confidence=confidence,
                min_face_presence_confidence=confidence,
                min_tracking_confidence=confidence,
            )
        )

    @classmethod
    def for_video(cls) -> Self:
        """Return a finder for the frames of a clip in their order. It follows the faces that it has found."""
        return cls(video=True)

    @classmethod
    def for_stills(cls, confidence: float = 0.5) -> Self:
        """Return a finder for unrelated pictures."""
        return cls(video=False, confidence=confidence)

    def find(self, picture: ByteArray) -> Floats:
        """Return (faces, 478, 3) for RGB (h, w, 3): x and y in pixels, z in the same unit, smaller if nearer."""
        height, width = picture.shape[:2]
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(fit(picture)))
        if self._video:
            found = self._task.detect_for_video(image, self._next)
            self._next += 33  # only the order matters
        else:
            found = self._task.detect(image)
        points = np.array([[(p.x, p.y, p.z) for p in face] for face in found.face_landmarks], np.float32)
        return points.reshape(-1, mesh.POINTS, 3) * np.array([width, height, width], np.float32)

    def close(self) -> None:
        self._task.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fit(picture: ByteArray) -> ByteArray:
    """Scale a picture to a size that suits the finder."""
    longest = max(picture.shape[:2])
    if longest > LONGEST:
        return resized(picture, LONGEST / longest, cv2.INTER_AREA)
    if longest < SHORTEST:
        return resized(picture, SHORTEST / longest, cv2.INTER_CUBIC)
    return picture


def resized(picture: ByteArray, scale: float, how: int) -> ByteArray:
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=how)  # type: ignore[no-any-return]
