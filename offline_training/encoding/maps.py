"""Maps of an encoding model: as NIfTI, and drawn on the anatomy."""

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nibabel
import numpy as np
from nilearn.plotting import plot_anat, plot_stat_map
from numpy.typing import NDArray

from offline_training.encoding.significance import VoxelScores

_CUTS = 7


@dataclass(frozen=True, eq=False)
class Space:
    """Where voxels lie.

    Attributes
    ----------
    anatomy : float32 array of shape (nx, ny, nz)
        Background, such as the training reference.
    affine : float64 array of shape (4, 4)
        Voxel to mm.
    voxels : int array of shape (n_voxels, 3)
    """

    anatomy: NDArray[np.float32]
    affine: NDArray[np.float64]
    voxels: NDArray[np.integer[Any]]

    def image(self, values: NDArray[np.floating], elsewhere: float = float("nan")) -> Any:
        """NIfTI image of values (n_voxels,), and of one value elsewhere."""
        volume = np.full(self.anatomy.shape, elsewhere, np.float32)
        volume[tuple(self.voxels.T)] = values
        return nibabel.Nifti1Image(volume, self.affine)


def write_maps(folder: Path, name: str, scores: VoxelScores, space: Space) -> tuple[Path, ...]:
    """Write r, the r over the ceiling, q and the ceiling as `<name>_*.nii.gz`; NaN outside the voxels."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for what, values in (("r", scores.r), ("normalised", scores.normalised), ("q", scores.q),
                         ("ceiling", scores.ceiling)):
        path = folder / f"{name}_{what}.nii.gz"
        nibabel.save(space.image(values), path)
        paths.append(path)
    return tuple(paths)


def draw(scores: VoxelScores, space: Space, what: str = "r") -> str:
    """Axial slices of the anatomy with the significant voxels, as an image address for a page.

    Parameters
    ----------
    scores : VoxelScores
    space : Space
    what : str
        "r" or "normalised".
    """
    values = np.where(scores.significant, getattr(scores, what), np.nan)
    shown = values[np.isfinite(values)]
    figure = plt.figure(figsize=(10.4, 2.0), facecolor="white")
    try:
        background = nibabel.Nifti1Image(space.anatomy, space.affine)
        view = {"display_mode": "z", "cut_coords": _cuts(space, np.isfinite(values)), "figure": figure,
                "black_bg": False, "draw_cross": False}
        if (shown > 0).any():
            plot_stat_map(space.image(np.nan_to_num(values), 0.0), bg_img=background, threshold=1e-6, vmin=0.0,
                          vmax=float(max(np.quantile(shown, 0.99), 0.1)), cmap="inferno", dim=-0.5,
                          resampling_interpolation="nearest", **view)
        else:
            bright = float(np.quantile(space.anatomy, 0.995))
            plot_anat(background, colorbar=False, vmin=0.0, vmax=bright, **view)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=150)
    finally:
        plt.close(figure)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _cuts(space: Space, kept: NDArray[np.bool_]) -> list[float]:
    """Heights in mm of slices spread over the voxels shown, or over all where none is."""
    voxels = space.voxels[kept] if kept.any() else space.voxels
    world = voxels @ space.affine[:3, :3].T + space.affine[:3, 3]
    low, high = np.quantile(world[:, 2], [0.03, 0.97])
    heights = np.unique(np.round(np.linspace(low, high, _CUTS), 1))
    return [float(height) for height in heights]
