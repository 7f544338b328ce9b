"""One new face on one picture: texture, light, warp and blend in their order."""

from dataclasses import dataclass, field

from batchswap.local.engine import geometry
from batchswap.local.engine.blend import blend
from batchswap.local.engine.coding import Coding, Planes
from batchswap.local.engine.following import Pose
from batchswap.local.engine.light import Light, light_for
from batchswap.local.engine.newface import NewFace, Texture
from batchswap.local.engine.warp import bend


@dataclass(frozen=True)
class Fitter:
    """Keeps what a new face needs between frames."""

    face: NewFace
    coding: Coding
    _lights: dict[int, Light] = field(default_factory=dict, repr=False)

    def fit(self, planes: Planes, pose: Pose) -> bool:
        """Change `planes` in place. False when nothing of the face lies inside the picture."""
        texture = self.face.texture(self.coding, geometry.width(pose.points))
        warp = bend(pose.points, texture.points, planes.size)
        if warp is None or not warp.mask.any():
            return False
        blend(planes, warp, self._light(texture).relit(pose.colours))
        return True

    def _light(self, texture: Texture) -> Light:
        key = id(texture)  # the face keeps its textures as long as it lives
        if key not in self._lights:
            self._lights[key] = light_for(texture, self.coding)
        return self._lights[key]
