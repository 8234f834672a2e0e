"""Runs of a moving head whose motion is known: real anatomy, drawn anew for each volume from a grid of 1 mm.

In the slice's plane a volume is made as a scanner makes it, from the low spatial frequencies; slices are sampled.

What is left out: movement within a volume, geometric distortion and its change with movement, and the history of
the spins after a movement. Real errors are larger for every method.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, spline_filter

from offline_training.simulation.anatomy import scanner_affine
from offline_training.simulation.motion import rigid
from offline_training.simulation.settings import ScannerSettings
from realtime.preprocessing.interpolation_kernels import sample_splines

Array = NDArray[np.float64]

_CORNER_MM = np.array([-98.0, -134.0, -72.0])   # of the template's first voxel
_DROPOUT = (((0.0, 36.0, -22.0), 14.0), ((52.0, -28.0, -30.0), 11.0), ((-52.0, -28.0, -30.0), 11.0))
_SIGMA_PER_FWHM = 0.4247
_RECEIVE_FIELD = 0.1
_ACTIVATION = 0.01
_GAIN_DRIFT = 0.015
_BREATHING_MM = 0.03


@dataclass(frozen=True)
class Geometry:
    """What is scanned, and how well: `tsnr` is the brain's mean intensity over the noise's SD."""

    name: str
    shape: tuple[int, int, int]
    voxel_mm: tuple[float, float, float]
    tsnr: float
    n_volumes: int


STANDARD = Geometry("64x64x36", (64, 64, 36), (3.0, 3.0, 3.5), 80.0, 200)
FINE = Geometry("96x96x72", (96, 96, 72), (2.0, 2.0, 2.0), 60.0, 80)


@dataclass(frozen=True, eq=False)
class MovingHead:
    """A head that can be scanned in any pose.

    Attributes
    ----------
    geometry : Geometry
    affine : float64 array of shape (4, 4)
        Voxel of the scanner's grid to mm.
    anatomy : float32 array of shape (mx, my, mz)
        Intensity at 1 mm.
    splines, active_splines : float32 arrays of shape (mx, my, mz)
        Cubic B-spline coefficients of the anatomy, and of what a fully active brain adds to it.
    brain_mm : float64 array of shape (n_brain, 3)
        Where the scanner's voxels that hold brain lie.
    brain_voxels : int64 array of shape (n_brain, 3)
    field : float64 array of shape (nx, ny, nz)
        Receive field: fixed in the scanner, it does not move with the head.
    level : float
        Mean intensity of the brain.
    """

    geometry: Geometry
    affine: Array
    anatomy: NDArray[np.float32]
    splines: NDArray[np.float32]
    active_splines: NDArray[np.float32]
    brain_mm: Array
    brain_voxels: NDArray[np.int64]
    field: Array
    level: float

    @property
    def centre_mm(self) -> Array:
        """Middle of the brain."""
        return np.asarray(self.brain_mm.mean(axis=0))

    def scan(self, motion: Array, seed: int, active: float = 0.0, gain: float = 1.0,
             tissue: NDArray[np.float32] | None = None, sensitivity: Array | None = None) -> NDArray[np.int16]:
        """One noisy volume (nx, ny, nz), Fortran order as nibabel delivers, of the head moved by `motion` (mm to mm).

        `tissue` takes the place of the anatomy, `sensitivity` that of the receive field.
        """
        splines = self.splines if tissue is None else _splines(tissue)
        clean = gain * self._drawn(splines + np.float32(active) * self.active_splines, motion)
        clean *= self.field if sensitivity is None else sensitivity
        random = np.random.default_rng([seed, 7])
        noise = self.level / self.geometry.tsnr
        noisy = np.hypot(clean + random.normal(0.0, noise, clean.shape), random.normal(0.0, noise, clean.shape))
        return np.asfortranarray(np.clip(np.rint(noisy), 0, 32767).astype(np.int16))

    def _drawn(self, coefficients: NDArray[np.float32], motion: Array) -> Array:
        nx, ny, nz = self.geometry.shape
        to_head = np.linalg.inv(motion) @ self.affine @ np.diag([0.5, 0.5, 1.0, 1.0])
        to_head[:3, 3] -= _CORNER_MM
        grid = np.ascontiguousarray(np.indices((2 * nx, 2 * ny, nz), np.int32).reshape(3, -1).T)
        drawn = np.empty(len(grid), np.float32)
        sample_splines(coefficients, np.ascontiguousarray(to_head[:3, [2, 1, 0, 3]][::-1]), grid[:, ::-1].copy(), drawn)
        spectrum = np.fft.fft2(drawn.reshape(2 * nx, 2 * ny, nz), axes=(0, 1))
        kept = spectrum[np.r_[:nx // 2, -nx // 2:0]][:, np.r_[:ny // 2, -ny // 2:0]]
        return np.maximum(np.fft.ifft2(kept, axes=(0, 1)).real / 4.0, 0.0)

    def error_mm(self, estimate: Array, truth: Array) -> float:
        """Root mean square distance over the brain between two motions."""
        difference = estimate - truth
        shift = self.brain_mm @ difference[:3, :3].T + difference[:3, 3]
        return float(np.sqrt((shift**2).sum(axis=1).mean()))

    def decoder_voxels(self, n: int) -> NDArray[np.int32]:
        """`n` random voxels of the brain, (n, 3)."""
        return np.random.default_rng(3).permutation(self.brain_voxels)[:n].astype(np.int32)


def moving_head(geometry: Geometry, seed: int = 0) -> MovingHead:
    """The template's head at 1 mm as an EPI sequence sees it, blurred to the scanner's voxels.

    Intensities of the tissues are those of the simulation (T2*-weighted, 3 T); 3 % texture, three regions of
    dropout; the bright rim stands for the scalp, which the template lacks.
    """
    grey, white, brain = (_template_map(name) for name in ("gm", "wm", "t1"))
    random = np.random.default_rng([seed, 11])
    inside = brain > 0
    outside_mm = distance_transform_edt(~inside)
    scalp = (outside_mm > 9) & (outside_mm < 15)
    image = grey + 0.72 * white + 1.45 * np.clip(inside - grey - white, 0.0, 1.0) + 0.3 * scalp
    texture = gaussian_filter(random.standard_normal(image.shape).astype(np.float32), 1.0)
    image *= 900.0 * (1.0 + 0.03 * texture / texture.std())
    millimetres = np.stack(np.indices(image.shape), axis=-1).astype(np.float32) + _CORNER_MM
    for centre_mm, width_mm in _DROPOUT:
        image *= 1.0 - 0.75 * np.exp(-0.5 * ((millimetres - np.float32(centre_mm)) ** 2).sum(axis=-1) / width_mm**2)
    spots = gaussian_filter(random.standard_normal(image.shape).astype(np.float32), 6.0)
    active = _ACTIVATION * image * grey * np.clip(spots / spots.std(), 0.0, 2.0)
    blur = _SIGMA_PER_FWHM * np.array(geometry.voxel_mm)
    affine = scanner_affine(ScannerSettings(shape=geometry.shape, voxel_mm=geometry.voxel_mm, multiband=1))
    voxels = np.argwhere(np.ones(geometry.shape, bool))
    places = np.rint(voxels @ affine[:3, :3].T + affine[:3, 3] - _CORNER_MM).astype(int)
    known = ((places >= 0) & (places < image.shape)).all(axis=1)
    voxels = voxels[known][inside[tuple(places[known].T)]]
    anatomy = np.asarray(gaussian_filter(image, blur), np.float32)
    return MovingHead(geometry, affine, anatomy, _splines(anatomy), _splines(gaussian_filter(active, blur)),
                      voxels @ affine[:3, :3].T + affine[:3, 3], voxels, receive_field(geometry.shape, seed),
                      float(image[inside].mean()))


def _template_map(name: str) -> NDArray[np.float32]:
    """A map of the MNI ICBM152 2009a template (Fonov et al. 2011) from nilearn's wheel, 1 mm, 0 to 1."""
    folder = Path(str(find_spec("nilearn").submodule_search_locations[0])) / "datasets" / "data"
    image: Any = nibabel.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
    if not np.array_equal(image.affine[:3], np.hstack([np.eye(3), _CORNER_MM[:, None]])):
        raise ValueError(f"the {name} map in {folder} lies on another grid than this benchmark was made for")
    volume = np.asarray(image.dataobj, np.float32)
    return volume / volume.max()


def _splines(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(spline_filter(image, 3, mode="mirror", output=np.float32))


def receive_field(shape: tuple[int, int, int], seed: int, depth: float = _RECEIVE_FIELD) -> Array:
    """A smooth sensitivity of about 1 ± `depth`: random polynomial of the second degree, (nx, ny, nz)."""
    random = np.random.default_rng([seed, 13])
    x, y, z = np.meshgrid(*(np.linspace(-1.0, 1.0, n) for n in shape), indexing="ij")
    terms = [x, y, z, x * y, y * z, z * x, x * x - 0.33, y * y - 0.33, z * z - 0.33]
    field_ = sum(weight * term for weight, term in zip(random.normal(size=len(terms)), terms, strict=True))
    return np.asarray(1.0 + depth * field_ / np.abs(field_).max())


def known_motion(n_volumes: int, centre_mm: Array, seed: int = 0) -> list[Array]:
    """Drift, three slow waves, a random walk, breathing and five jerks, reaching 3 mm and 2.5 degrees; first none."""
    random = np.random.default_rng([seed, 17])
    t = np.linspace(0.0, 1.0, n_volumes)[:, None]
    pose = t * random.normal(size=6)
    for cycles in (1.3, 2.9, 5.1):
        pose = pose + random.normal(0.0, 0.4, 6) * np.sin(2.0 * np.pi * (cycles * t + random.random(6)))
    pose = pose + np.cumsum(random.normal(0.0, 0.02, (n_volumes, 6)), axis=0)
    for start in random.integers(n_volumes // 20, n_volumes, 5):
        pose[start:] += random.normal(0.0, 0.25, 6) * (0.5 + 0.5 * np.exp(-np.arange(n_volumes - start) / 4.0)[:, None])
    pose -= pose[0]
    pose[:, :3] *= 3.0 / np.linalg.norm(pose[:, :3], axis=1).max()
    pose[:, 3:] *= 2.5 / np.linalg.norm(pose[:, 3:], axis=1).max()
    pose[1:, 2] += _BREATHING_MM * np.sin(2.0 * np.pi * 0.27 * np.arange(1, n_volumes))
    return [rigid(row[:3], np.deg2rad(row[3:]), centre_mm) for row in pose]


@dataclass(frozen=True, eq=False)
class Series:
    """Volumes of one run and where the head was in each; volume 0, of the same noise, is the reference."""

    head: MovingHead
    volumes: list[NDArray[np.int16]]
    motions: list[Array] = field(repr=False)


def make_series(geometry: Geometry, seed: int = 0, tick: Callable[[], None] = lambda: None) -> Series:
    """A run of this geometry; `tick` is called after each volume."""
    head = moving_head(geometry, seed)
    motions = known_motion(geometry.n_volumes, head.centre_mm, seed)
    random = np.random.default_rng([seed, 19])
    active = np.clip(np.convolve(random.normal(size=geometry.n_volumes + 6), np.full(7, 0.5), "valid"), 0.0, 1.5)
    volumes = []
    for t, motion in enumerate(motions):
        gain = 1.0 + _GAIN_DRIFT * t / geometry.n_volumes
        volumes.append(head.scan(motion, seed=1000 * seed + t, active=float(active[t]) if t else 0.0, gain=gain))
        tick()
    return Series(head, volumes, motions)
