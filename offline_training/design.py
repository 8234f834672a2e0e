"""From recorded runs to rows: every volume goes through the live preprocessor, one by one.

There is no batch twin. Samples of all brain voxels are kept on disk while voxels are chosen, and
the live scaler is run over them again once `feature_scale` is known: scaling treats each voxel
by itself, so the rows are those that a live run with the same bundle would give.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offline_training.runs import RecordedRun, read_volumes
from realtime.errors import VolumeError
from realtime.preprocessing import TISSUES, CausalScaler, PreprocessedVolume, Preprocessor, PreprocessorSettings
from scanner_bridge.volume import Volume, has_signal, scanner_units


@dataclass(frozen=True, eq=False)
class Frame:
    """Where features are read: what a bundle will hold.

    Attributes
    ----------
    reference : float32 array of shape (nx, ny, nz)
    affine : float64 array of shape (4, 4)
    voxels : int32 array of shape (n_voxels, 3)
    preprocessing : PreprocessorSettings
    tissues : uint8 array of shape (nx, ny, nz) or None
        As in a bundle.
    """

    reference: NDArray[np.float32]
    affine: NDArray[np.float64]
    voxels: NDArray[np.int32]
    preprocessing: PreprocessorSettings
    tissues: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class RunSamples:
    """One run after alignment, before drift removal.

    Attributes
    ----------
    run : RecordedRun
    samples : Path
        .npy, float32 (n_volumes, n_voxels), scanner units; rows of lost volumes are zero.
    lost, censored, ready : bool arrays of shape (n_volumes,)
        Refused by the preprocessor; not to be learnt from; past the run's start.
    displacement_mm : float64 array of shape (n_volumes,)
        Framewise displacement.
    poses : float64 array of shape (n_volumes, 6)
        Where the head was, for the scaler; zeros for lost volumes.
    tissue_percent : float64 array of shape (n_volumes, 2)
        Means of white matter and cerebrospinal fluid, likewise; zeros where they are not asked for.
    """

    run: RecordedRun
    samples: Path
    lost: NDArray[np.bool_]
    censored: NDArray[np.bool_]
    ready: NDArray[np.bool_]
    displacement_mm: NDArray[np.float64]
    poses: NDArray[np.float64]
    tissue_percent: NDArray[np.float64]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Volumes that may be evidence, by the rule of the live session."""
        return self.ready & ~self.censored & ~self.lost


def sample_run(run: RecordedRun, frame: Frame, path: Path) -> RunSamples:
    """Push a run through the preprocessor and keep what it sampled in `path`."""
    pre = Preprocessor(frame.reference, frame.affine, frame.voxels, frame.preprocessing, tissues=frame.tissues)
    samples = np.zeros((run.n_volumes, len(frame.voxels)), np.float32)
    lost, censored, ready = (np.zeros(run.n_volumes, bool) for _ in range(3))
    displacement_mm, poses = np.zeros(run.n_volumes), np.zeros((run.n_volumes, 6))
    tissue_percent = np.zeros((run.n_volumes, len(TISSUES)))
    for volume in read_volumes(run):
        step = pushed(pre, volume)
        if step is None:
            lost[volume.index] = True
            continue
        samples[volume.index] = step.samples
        censored[volume.index], ready[volume.index] = step.censored, step.ready
        displacement_mm[volume.index], poses[volume.index] = step.framewise_displacement_mm, step.pose
        if step.tissue_percent is not None:
            tissue_percent[volume.index] = step.tissue_percent
    np.save(path, samples)
    return RunSamples(run, path, lost, censored, ready, displacement_mm, poses, tissue_percent)


def pushed(preprocessor: Preprocessor, volume: Volume) -> PreprocessedVolume | None:
    """The next volume of a run through the preprocessor; None for one that the live program would not use either."""
    if has_signal(volume):
        try:
            return preprocessor.push(scanner_units(volume), affine=volume.affine)
        except VolumeError:
            pass
    preprocessor.skip()
    return None


def feature_scale(sampled: Sequence[RunSamples], settings: PreprocessorSettings) -> NDArray[np.float32]:
    """SD of each voxel about its running mean, as a fraction of that mean; root mean square over runs."""
    squares = []
    for run in sampled:
        state = _scaled(run, settings, None, np.load(run.samples, mmap_mode="r"), lambda _v, _f: None).state()
        squares.append(state.spread / np.maximum(state.mean, 1e-6) ** 2)
    scale: NDArray[np.float32] = np.sqrt(np.mean(squares, axis=0)).astype(np.float32)
    return scale


def scaled_features(run: RunSamples, frame: Frame, scale: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    """Features of a run, as a live run with the same bundle would give them.

    Parameters
    ----------
    run : RunSamples
    frame : Frame
        Its settings.
    scale : float32 array of shape (n_voxels,)
        `feature_scale` of all sampled voxels.
    path : Path
        .npy to make.

    Returns
    -------
    features : float32 array of shape (n_volumes, n_voxels)
        Mapped from `path`; zeros for lost volumes.
    """
    samples = np.load(run.samples, mmap_mode="r")
    features = np.lib.format.open_memmap(path, "w+", np.float32, samples.shape)

    def push(volume: int, row: NDArray[np.float32] | None) -> None:
        if row is not None:
            features[volume] = row

    _scaled(run, frame.preprocessing, scale, samples, push)
    features.flush()
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _scaled(run: RunSamples, settings: PreprocessorSettings, scale: NDArray[np.float32] | None,
            samples: NDArray[np.float32], push: Callable[[int, NDArray[np.float32] | None], None]) -> CausalScaler:
    scaler = CausalScaler(samples.shape[1], settings, scale)
    for volume, row in enumerate(samples):
        if run.lost[volume]:
            scaler.skip()
            push(volume, None)
        else:
            push(volume, scaler.push(np.ascontiguousarray(row), bool(run.censored[volume]), run.poses[volume],
                                     run.tissue_percent[volume]))
    return scaler


def with_voxels(frame: Frame, columns: NDArray[np.intp]) -> Frame:
    """The frame with some of its voxels."""
    return replace(frame, voxels=frame.voxels[columns])
