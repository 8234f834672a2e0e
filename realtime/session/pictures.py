"""Three slices of a volume, with the decoder's voxels where the head has taken them, for a status message."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.bundle import Bundle

LONGEST_SIDE = 128
_NEAR_SLICES = 0.75  # a voxel is drawn in the slices that it touches
_PLANES = (("sagittal", 0, 1, 2), ("coronal", 1, 0, 2), ("axial", 2, 0, 1))


@dataclass(frozen=True)
class SixMotions:
    """The head against the bundle's reference.

    Attributes
    ----------
    shift_mm : tuple of float
        Of the reference's centre, to the right, front and head.
    turn_deg : tuple of float
        About these axes.
    """

    shift_mm: tuple[float, float, float]
    turn_deg: tuple[float, float, float]

    def to_list(self) -> list[float]:
        """All six, the shifts first."""
        return [round(value, 4) for value in (*self.shift_mm, *self.turn_deg)]


class Pictures:
    """Pictures of volumes, all from the same three planes through the middle of the decoder's voxels.

    Parameters
    ----------
    bundle : Bundle
        Whose voxels are drawn.
    blinded : bool
        Draw none, and cut through the middle of the volume: where a decoder looks may tell arms apart.
    """

    def __init__(self, bundle: Bundle, blinded: bool = False) -> None:
        self._blinded = blinded
        self._affine = bundle.affine
        self._voxels = np.c_[bundle.voxels, np.ones(len(bundle.voxels))].astype(np.float64)
        middle = np.append((np.array(bundle.reference.shape) - 1) / 2.0, 1.0)
        self._centre_mm = (bundle.affine @ middle)[:3]
        self._white: tuple[str, float] = ("", 1.0)

    def six(self, motion: NDArray[np.float64]) -> SixMotions:
        """The six parameters of a motion matrix (4, 4); angles in the order x, y, z."""
        turn = motion[:3, :3]
        shift = turn @ self._centre_mm + motion[:3, 3] - self._centre_mm
        x = np.arctan2(turn[2, 1], turn[2, 2])
        y = -np.arcsin(np.clip(turn[2, 0], -1.0, 1.0))
        z = np.arctan2(turn[1, 0], turn[0, 0])
        return SixMotions((float(shift[0]), float(shift[1]), float(shift[2])),
                          (float(np.degrees(x)), float(np.degrees(y)), float(np.degrees(z))))

    def draw(self, data: NDArray[Any], affine: NDArray[np.float64], motion: NDArray[np.float64] | None,
             run: str) -> list[dict[str, Any]]:
        """Three planes of a volume.

        Parameters
        ----------
        data : array of shape (nx, ny, nz)
            As acquired; white is the 99.5th percentile of the run's first volume in these planes.
        affine : float64 array of shape (4, 4)
            Voxel to mm, RAS+.
        motion : float64 array of shape (4, 4) or None
            Reference's world to this volume's; None draws the voxels where they were in the reference.
        run : str
            Names the acquisition.

        Returns
        -------
        planes : list of dict
            "plane", "size" (width, height), "pixels" (base64 of uint8 rows, the top row first; left is the person's
            left, or the back), "voxels" (x, y, x, y … in pixels of that picture).
        """
        axes, flips = _orientation(affine)
        there = self._voxels @ (np.linalg.inv(affine) @ (self._affine if motion is None else motion @ self._affine)).T
        upright = np.transpose(data, axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
        places = there[:, axes]
        for axis, flip in enumerate(flips):
            if flip:
                places[:, axis] = upright.shape[axis] - 1 - places[:, axis]
        if self._blinded:
            middle, places = [n // 2 for n in upright.shape], places[:0]
        else:
            middle = [int(np.clip(round(float(np.median(places[:, axis]))), 0, upright.shape[axis] - 1))
                      for axis in range(3)]
        images = [np.take(upright, middle[fixed], axis=fixed) for _, fixed, _, _ in _PLANES]
        if self._white[0] != run:
            self._white = (run, max(float(np.percentile(np.concatenate([image.ravel() for image in images]), 99.5)),
                                    1e-6))
        return [_plane(name, image, places[np.abs(places[:, fixed] - middle[fixed]) <= _NEAR_SLICES][:, [across, up]],
                       self._white[1]) for image, (name, fixed, across, up) in zip(images, _PLANES, strict=True)]


def _plane(name: str, image: NDArray[Any], voxels: NDArray[np.float64], white: float) -> dict[str, Any]:
    """An image of shape (width, height), its second axis upward, and the voxels in it."""
    step = -(-max(image.shape) // LONGEST_SIDE)
    small = image[::step, ::step]
    grey = np.nan_to_num(np.clip(small.astype(np.float32) * (255.0 / white), 0.0, 255.0)).astype(np.uint8)
    rows = np.ascontiguousarray(grey.T[::-1])
    x = np.rint(voxels[:, 0] / step).astype(int)
    y = rows.shape[0] - 1 - np.rint(voxels[:, 1] / step).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < rows.shape[1]) & (y < rows.shape[0])
    places = np.unique(np.c_[x[inside], y[inside]], axis=0)
    return {"plane": name, "size": [rows.shape[1], rows.shape[0]], "pixels": base64.b64encode(rows.tobytes()).decode(),
            "voxels": places.ravel().tolist()}


def _orientation(affine: NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which voxel axis runs along x, y and z of the world, and whether it runs against it."""
    steps = affine[:3, :3].copy()
    steps /= np.linalg.norm(steps, axis=0)
    left = {0, 1, 2}
    axes, flips = [0, 0, 0], [False, False, False]
    for world, voxel in sorted(((w, v) for w in range(3) for v in range(3)), key=lambda at: -abs(steps[at])):
        if world in left and voxel not in [axes[done] for done in {0, 1, 2} - left]:
            axes[world], flips[world] = voxel, bool(steps[world, voxel] < 0)
            left.discard(world)
    return (axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2])
