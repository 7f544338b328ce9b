"""Notices what passes before a face, a hand or a microphone: skin that is suddenly of quite another colour.

Each point's colour is held against what it usually is through the clip, after the light as a whole is allowed for.
Only clear cases count: a shadow that moves over a face is no hand, and a hand of the same colour stays unnoticed.
"""

import cv2
import numpy as np

from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import Floats, rise
from batchswap.local.engine.media.colour_planes import Planes

DARKER = (0.8, 1.2)
"""Logarithm of the change in luma between a hard shadow and something else."""
OTHER = (8.0, 14.0)
"""Difference of chroma, code values, from what skin would have in such a shadow."""
NEAR = (0.03, 0.2)
"""Hiddenness of the points around, from which on a pixel is asked."""
ALWAYS = 0.5
"""A part of the points: when more than these differ, the light has changed, and nothing hides the face."""

FIRM = np.setdiff1d(np.arange(mesh.SURFACE), [*mesh.FEATURES, *mesh.OVAL, *mesh.ABOVE_BROWS])
"""Points that show skin whatever the face does."""


def visible(colours: Floats, usual: Floats) -> Floats:
    """(468,) from colours (468, 3) of a frame and of the clip: 1 as ever, 0 hidden."""
    found = np.ones(mesh.SURFACE, np.float32)
    hidden = unlike(colours[FIRM], usual[FIRM])
    if np.mean(hidden > 0.5) < ALWAYS:
        found[FIRM] = 1 - hidden
    return found


def unlike(now: Floats, ever: Floats) -> Floats:
    """(…) from colours (…, 3): 0 the same or in a shadow, 1 something else."""
    change = np.log(np.maximum(8, now[..., 0]) / np.maximum(8, ever[..., 0]))
    shade = np.exp(np.minimum(0, change))[..., None]
    other = np.abs((now[..., 1:] - 128) - (ever[..., 1:] - 128) * shade).max(-1)
    return np.maximum(rise(np.abs(change), *DARKER), rise(other, *OTHER))


def clear(part: Planes, expected: Floats) -> Floats:
    """(h, w), 1 where a part of a picture shows skin, from the skin's colour and hiddenness (h, w, 4) there.

    Only near hidden points is each pixel asked, for eyes and brows are no skin either.
    """
    size = (part.luma.shape[1], part.luma.shape[0])
    colours = cv2.merge([part.luma, *(cv2.resize(plane, size) for plane in (part.blue, part.red))])
    soft = cv2.GaussianBlur(colours, (0, 0), max(0.5, size[0] / 200)).astype(np.float32)
    return np.asarray(1 - unlike(soft, expected[..., :3]) * rise(expected[..., 3], *NEAR), np.float32)
