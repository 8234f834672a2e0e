"""A run without onsets: volumes of a phantom whose decoder voxels follow music, and a bundle that decodes them."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np

from realtime.bundle import Bundle
from realtime.decoding.change import mean_variance
from tests import builders

CHANGE = 0.12
"""Of a voxel's intensity, for an embedding and a weight of 1."""
GAIN, SCATTER = 7.5, 5.5
"""What volumes of this run decode to: so many times the clip's embedding, and a scatter of so much per dimension."""
RISE = (0.0, 0.1, 0.5, 0.9)
"""How far the response to a new clip has come in its first volumes; then all the way."""
PLAYED = ((3, 14), (8, 33), (5, 19), (10, 40), (1, 16), (6, 27), (0, 12), (9, 36), (2, 22), (7, 17))
"""Clips of the catalogue, and for how many volumes each: uneven, so that a shifted run does not fit."""


def bundle() -> Bundle:
    """Linear, 60 voxels, with maps that say how its evidence scatters."""
    made = builders.bundle()
    weights = np.random.default_rng(3).standard_normal((len(made.voxels), builders.DIM)).astype(np.float32)
    scatter = SCATTER * np.sqrt([mean_variance(n) for n in range(1, made.manifest.window_volumes + 1)])
    maps = (1.0 / scatter)[:, None, None].astype(np.float32) * np.eye(builders.DIM, dtype=np.float32)
    return replace(made, onnx=builders.linear_onnx(weights, np.zeros(builders.DIM)), evidence_map=maps,
                   clip_map=np.float32(GAIN) * maps)


def responses(embeddings: np.ndarray) -> np.ndarray:
    """What each clip adds to the intensity, (n_clips, n_voxels), fractions: the least that is decoded as it."""
    weights = np.random.default_rng(3).standard_normal((len(builders.bundle().voxels), builders.DIM))
    return CHANGE * embeddings @ np.linalg.pinv(weights)


def course(played: tuple[tuple[int, int], ...] = PLAYED) -> np.ndarray:
    """Share of each clip in the response at every volume, (n_volumes, N_CLIPS)."""
    rows, before = [], None
    for clip, n_volumes in played:
        for volume in range(n_volumes):
            share = RISE[volume] if volume < len(RISE) else 1.0
            row = np.zeros(builders.N_CLIPS)
            row[clip] = share
            if before is not None:
                row[before] += 1.0 - share
            rows.append(row)
        before = clip
    return np.array(rows)


def volumes(embeddings: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """The run, int16; the responses are the phantom's noise, and what `course` adds at the decoder's voxels."""
    made, plain = bundle(), builders.volumes(len(course()), seed)
    added = course() @ responses(embeddings)
    at = tuple(made.voxels.T)
    for volume, change in zip(plain, added, strict=True):
        volume[at] = np.clip(volume[at] * (1.0 + change), 0, 32000).astype(np.int16)
    return plain


def borders() -> np.ndarray:
    """Volume at which the response to each clip but the first is half there."""
    return np.cumsum([n for _, n in PLAYED])[:-1] + RISE.index(0.5)


def write_run(path: Path, embeddings: np.ndarray) -> None:
    """The run as a NIfTI file."""
    image = nibabel.Nifti1Image(np.stack(volumes(embeddings), axis=-1), builders.AFFINE)
    image.header.set_zooms((*image.header.get_zooms()[:3], builders.TR_S))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    path.with_suffix(".json").write_text(json.dumps({"RepetitionTime": builders.TR_S}))
