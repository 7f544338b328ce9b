"""Detect objects in front of a face, such as a hand or a microphone, by a clear change in the skin's colour.

The colour of each point is compared with its usual colour in the clip, unless the overall light has changed. Only
clear cases count: a moving shadow is not a hand, and a hand of the same colour is not detected.
"""

import cv2
import numpy as np

from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import Floats, rise
from batchswap.local.engine.media.colour_planes import Planes

DARKER = (0.8, 1.2)
"""Logarithm of the change in luma: a hard shadow below the first value, an object above the second."""
OTHER = (8.0, 14.0)
"""Difference in chroma, in code values, from skin in such a shadow."""
NEAR = (0.03, 0.2)
"""Degree of hiding of the points around a pixel: the pixel is not examined below the first value."""
ALWAYS = 0.5
"""Fraction of the points. If more of them differ, the light has changed and nothing hides the face."""

FIRM = np.setdiff1d(np.arange(mesh.SURFACE), [*mesh.FEATURES, *mesh.OVAL, *mesh.ABOVE_BROWS])
"""Points that show skin with every facial expression."""


def visible(colours: Floats, usual: Floats) -> Floats:
    """Compare the colours (468, 3) of a frame with the usual ones. Return (468,): 1 if visible, 0 if hidden."""
    found = np.ones(mesh.SURFACE, np.float32)
    hidden = unlike(colours[FIRM], usual[FIRM])
    if np.mean(hidden > 0.5) < ALWAYS:
        found[FIRM] = 1 - hidden
    return found


def unlike(now: Floats, ever: Floats) -> Floats:
    """Compare colours (…, 3). Return (…): 0 for the same skin, even in a shadow, 1 for something else."""
    change = np.log(np.maximum(8, now[..., 0]) / np.maximum(8, ever[..., 0]))
    shade = np.exp(np.minimum(0, change))[..., None]
    other = np.abs((now[..., 1:] - 128) - (ever[..., 1:] - 128) * shade).max(-1)
    return np.maximum(rise(np.abs(change), *DARKER), rise(other, *OTHER))


def clear(part: Planes, expected: Floats) -> Floats:
    """Return (h, w): 1 where a part of a picture shows skin. `expected` (h, w, 4): the skin's colour and its hiding.

    Examine only pixels near hidden points, because eyes and brows do not have the colour of skin either.
    """
    size = (part.luma.shape[1], part.luma.shape[0])
    colours = cv2.merge([part.luma, *(cv2.resize(plane, size) for plane in (part.blue, part.red))])
    soft = cv2.GaussianBlur(colours, (0, 0), max(0.5, size[0] / 200)).astype(np.float32)
    return np.asarray(1 - unlike(soft, expected[..., :3]) * rise(expected[..., 3], *NEAR), np.float32)
