"""The reference image of a bundle and where in it the brain is."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from offline_training.errors import DatasetError
from realtime.errors import VolumeError
from realtime.preprocessing import Preprocessor, PreprocessorSettings
from scanner_bridge.volume import Volume, has_signal, scanner_units

N_REFERENCE_VOLUMES = 24


def make_reference(volumes: Iterable[Volume], settings: PreprocessorSettings) -> NDArray[np.float32]:
    """Mean of volumes spread over a run's steady state, aligned to the middle one.

    Returns
    -------
    reference : float32 array of shape (nx, ny, nz)

    Raises
    ------
    DatasetError
        Too few volumes, or none that can be aligned.
    """
    settle = int(np.ceil(settings.settle_s / settings.tr_s))
    steady = [volume for volume in volumes if volume.index >= settle and has_signal(volume)]
    if not steady:
        raise DatasetError(f"the run has no volume after the first {settle}, which are still settling; give a "
                           "longer run")
    middle = steady[len(steady) // 2]
    chosen = [steady[i] for i in np.unique(np.linspace(0, len(steady) - 1, N_REFERENCE_VOLUMES).astype(int))]
    affine = np.asarray(middle.affine, np.float64)
    target = scanner_units(middle)
    anywhere = np.array([[size // 2 for size in target.shape]], np.int32)
    aligner = Preprocessor(np.nan_to_num(np.asarray(target, np.float32)), affine, anywhere,
                           replace(settings, nuisance_tissues=False))
    total, n_used = np.zeros(target.shape), 0
    for volume in chosen:
        array = scanner_units(volume)
        try:
            step = aligner.push(array, affine=volume.affine)
        except VolumeError:
            continue
        if step.trusted:
            to_voxel = np.linalg.inv(volume.affine) @ step.motion @ affine
            total += ndimage.affine_transform(np.nan_to_num(np.asarray(array, np.float32)), to_voxel[:3, :3],
                                              to_voxel[:3, 3], order=3, mode="nearest")
            n_used += 1
    if not n_used:
        raise DatasetError(f"none of {len(chosen)} volumes could be aligned to volume {middle.index}; look at "
                           "the images")
    return np.maximum(total / n_used, 0.0).astype(np.float32)


def brain_voxels(reference: NDArray[np.float32]) -> NDArray[np.int32]:
    """Indices (n, 3) of the head's bright tissue: half of Otsu's threshold, largest piece, holes filled.

    Raises
    ------
    DatasetError
        Nothing stands out of the background.
    """
    smooth = ndimage.gaussian_filter(reference, 1.0)
    mask = smooth > 0.5 * _otsu(smooth)
    pieces, n_pieces = ndimage.label(mask)
    if not n_pieces or mask.all():
        raise DatasetError("no head stands out in the reference: all its voxels are about as bright; look at the "
                           "images")
    largest = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    inside = ndimage.binary_erosion(ndimage.binary_fill_holes(largest), border_value=0)
    if not inside.any():
        raise DatasetError("the head in the reference is thinner than three voxels; give images of at least 8 slices")
    return np.argwhere(inside).astype(np.int32)


def _otsu(image: NDArray[np.float32]) -> float:
    """Threshold with the largest variance between the two classes (Otsu 1979)."""
    counts, edges = np.histogram(image, bins=256)
    centres = 0.5 * (edges[1:] + edges[:-1])
    below = counts.cumsum()[:-1]
    sums = (counts * centres).cumsum()
    above = counts.sum() - below
    both = (below > 0) & (above > 0)
    apart = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(centres[:-1][np.argmax(np.where(both, below * above * apart**2, 0.0))])
