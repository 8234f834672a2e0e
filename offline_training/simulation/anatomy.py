"""The head of a simulated person as an EPI sequence sees it.

The tissue maps are the MNI ICBM152 2009a grey and white matter probabilities (Fonov et al. 2011) that lie in
nilearn's wheel: nothing is downloaded. They are read as files because importing nilearn takes seconds.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from offline_training.errors import SimulationError
from offline_training.simulation.motion import rigid
from offline_training.simulation.settings import ScannerSettings, SubjectSettings

PAD = 4  # voxels of head kept outside the field of view, so that movement brings in tissue rather than nothing
_CENTRE_MNI_MM = np.array([0.0, -18.0, 14.0])
_AUDITORY_MNI_MM = np.array([52.0, -20.0, 8.0])
_AUDITORY_AXES_MM = np.array([16.0, 30.0, 14.0])
_TEMPORAL_AXES_MM = np.array([18.0, 34.0, 16.0])
_ATLAS_ERROR_MM = 1.5  # how far an atlas region lies off in one person
_NOISE_SMOOTH_VOXELS = 4.0
_GREY, _WHITE, _FLUID, _SCALP = 1.0, 0.72, 1.45, 0.3  # T2*-weighted at 3 T, relative to grey matter
_DROPOUT = (((0.0, 36.0, -22.0), 14.0), ((52.0, -28.0, -30.0), 11.0), ((-52.0, -28.0, -30.0), 11.0))
_MAPS = {"grey": "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz",
         "white": "mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz",
         "head": "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"}


@dataclass(frozen=True, eq=False)
class Head:
    """A head in its reference position. Arrays are (mz, my, mx), padded by PAD on every side.

    Attributes
    ----------
    affine : float64 array of shape (4, 4)
        Voxel of the scanner's grid (x, y, z) to mm.
    intensity : float32 array of shape (mz, my, mx)
        Anatomy in the scanner's units, without the receive field.
    brain : bool array of shape (mz, my, mx)
        Grey or white matter, or the fluid between.
    grey, fluid : float32 arrays of shape (mz, my, mx)
        Share of grey matter and of cerebrospinal fluid in a voxel, 0 to 1.
    auditory : int64 array of shape (n_auditory,)
        Flat indices of the voxels that respond to music.
    temporal : bool array of shape (mz, my, mx)
        What an atlas would call superior temporal cortex: grey matter around the responding voxels,
        about twice as many, drawn without knowing them and a little displaced.
    noise_level : float32 array of shape (mz, my, mx)
        Size of the noise relative to the median of the brain: the signal-to-noise ratio differs from place to place.
    tissues : uint8 array of shape (mz, my, mx)
        What a segmentation would say, in BIDS's labels: 1 grey matter, 2 white matter, 3 fluid.
    """

    affine: NDArray[np.float64]
    intensity: NDArray[np.float32]
    brain: NDArray[np.bool_]
    grey: NDArray[np.float32]
    fluid: NDArray[np.float32]
    auditory: NDArray[np.int64]
    temporal: NDArray[np.bool_]
    noise_level: NDArray[np.float32]
    tissues: NDArray[np.uint8]


def scanner_affine(settings: ScannerSettings) -> NDArray[np.float64]:
    """Voxel (x, y, z) to mm, shape (4, 4): x runs to the left, as scanners store it, and the slices are tilted."""
    affine = np.diag([-settings.voxel_mm[0], settings.voxel_mm[1], settings.voxel_mm[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(settings.shape) - 1) / 2)
    return rigid(_CENTRE_MNI_MM, np.deg2rad([settings.tilt_deg, 0.0, 0.0]), np.zeros(3)) @ affine


def build_head(subject: SubjectSettings, scanner: ScannerSettings) -> Head:
    """A head whose size, proportions and pose differ with the subject's seed.

    Raises
    ------
    SimulationError
        nilearn's maps are missing, or the field of view holds too little auditory cortex.
    """
    rng = np.random.default_rng([subject.seed, 2])
    affine = scanner_affine(scanner)
    world = _world_mm(affine, scanner.shape)
    mni = _to_template(world, rng)
    maps = _tissues(max(scanner.voxel_mm))
    grey, white, brain_share, scalp = (_sampled(volume, origin, mni) for volume, origin in maps)
    fluid = np.clip(brain_share - grey - white, 0, 1)
    texture = ndimage.gaussian_filter(rng.standard_normal(grey.shape), 0.6)
    weighted = _GREY * grey + _WHITE * white + _FLUID * fluid + _SCALP * scalp
    intensity = scanner.intensity * weighted * (1 + 0.03 * texture / texture.std())
    for centre, width in _DROPOUT:
        intensity *= 1 - 0.75 * np.exp(-0.5 * (((mni - np.array(centre)) ** 2).sum(axis=-1)) / width**2)
    auditory = _auditory(mni, grey, subject.n_auditory)
    temporal = _temporal(mni + rng.normal(0, _ATLAS_ERROR_MM, 3), grey)
    brain = brain_share > 0.4
    tissues = np.where(brain, 1 + np.argmax([grey, white, fluid], axis=0), 0).astype(np.uint8)
    return Head(affine, intensity.astype(np.float32), brain, grey, fluid.astype(np.float32), auditory, temporal,
                _noise_level(subject, brain), tissues)


def _noise_level(subject: SubjectSettings, brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    rng = np.random.default_rng([subject.seed, 8])
    smooth = ndimage.gaussian_filter(rng.standard_normal(brain.shape), _NOISE_SMOOTH_VOXELS)
    smooth -= np.median(smooth[brain])
    return np.asarray(np.exp(subject.noise_variation * smooth / smooth[brain].std()), np.float32)


def _world_mm(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """World coordinates of the padded grid, shape (mz, my, mx, 3)."""
    z, y, x = np.meshgrid(*(np.arange(-PAD, n + PAD) for n in reversed(shape)), indexing="ij")
    return np.stack([x, y, z], axis=-1) @ affine[:3, :3].T + affine[:3, 3]


def _to_template(world: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Template coordinates of points of the world: this head's own size and pose."""
    pose = rigid(rng.normal(0, 2.0, 3), np.deg2rad(rng.normal(0, 2.0, 3)), _CENTRE_MNI_MM)
    stretch = 1 + rng.normal(0, 0.02, 3)
    return np.asarray((world @ pose[:3, :3].T + pose[:3, 3] - _CENTRE_MNI_MM) * stretch + _CENTRE_MNI_MM)


def _tissues(voxel_mm: float) -> list[tuple[NDArray[np.float32], NDArray[np.float64]]]:
    """Grey, white, brain and scalp at 2 mm, blurred to the voxel's size, each with the mm of its first voxel."""
    grey, origin = _template("grey")
    white, _ = _template("white")
    brain = np.asarray(_template("head")[0] > 0, np.float32)
    outside_mm = 2.0 * ndimage.distance_transform_edt(brain < 0.5)
    scalp = np.asarray((outside_mm > 9) & (outside_mm < 15), np.float32)
    blur = max(voxel_mm / 2.355 / 2.0, 0.5)
    return [(ndimage.gaussian_filter(volume, blur), origin) for volume in (grey, white, brain, scalp)]


def _template(name: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A map at 2 mm (means of eight voxels), and the mm of its first voxel; padded so that a scalp fits round it."""
    spec = find_spec("nilearn")
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = next((Path(folder) / "datasets" / "data" / _MAPS[name] for folder in folders), Path(_MAPS[name]))
    try:
        image: Any = nibabel.load(path)
        volume = np.asarray(image.dataobj, np.float32)
    except (OSError, nibabel.filebasedimages.ImageFileError) as exc:
        raise SimulationError(f"the {name} map cannot be read from {path} ({exc}); nilearn's wheel holds it: install "
                              "the train extra") from exc
    volume /= volume.max()
    n = [size // 2 * 2 for size in volume.shape]
    blocks = volume[: n[0], : n[1], : n[2]].reshape(n[0] // 2, 2, n[1] // 2, 2, n[2] // 2, 2).mean(axis=(1, 3, 5))
    margin = 8
    origin = image.affine[:3, 3] + 0.5 - 2.0 * margin
    return np.pad(blocks, margin).astype(np.float32), np.asarray(origin, np.float64)


def _sampled(volume: NDArray[np.float32], origin: NDArray[np.float64], mni: NDArray[np.float64]) -> NDArray[np.float32]:
    at = np.moveaxis((mni - origin) / 2.0, -1, 0)
    return np.asarray(ndimage.map_coordinates(volume, at, order=1, output=np.float32), np.float32)


def _auditory(mni: NDArray[np.float64], grey: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """The grey voxels nearest to superior temporal cortex, half on each side, inside the field of view."""
    inside = np.zeros(grey.shape, bool)
    inside[PAD:-PAD, PAD:-PAD, PAD:-PAD] = True
    chosen = []
    for side, count in ((1.0, n // 2), (-1.0, n - n // 2)):
        distance = (((mni - _AUDITORY_MNI_MM * [side, 1, 1]) / _AUDITORY_AXES_MM) ** 2).sum(axis=-1)
        distance[~inside | (grey < 0.4)] = np.inf
        nearest = np.argsort(distance, axis=None, kind="stable")[:count]
        if distance.ravel()[nearest].max() > 4.0:  # twice the ellipsoid's axes: not auditory cortex any more
            raise SimulationError(f"the field of view holds fewer than {n} auditory voxels; ask for fewer in "
                                  "subject.n_auditory, or use a larger field of view or smaller voxels")
        chosen.append(nearest)
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _temporal(mni: NDArray[np.float64], grey: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Grey matter in an ellipsoid on each side."""
    sides = [(((mni - _AUDITORY_MNI_MM * [side, 1, 1]) / _TEMPORAL_AXES_MM) ** 2).sum(axis=-1) < 1.0
             for side in (1.0, -1.0)]
    return np.asarray((sides[0] | sides[1]) & (grey > 0.3))
