"""What a worker process of the simulation does: scan one run and write its files.

It imports neither nilearn, scipy nor the synthesiser: a fresh process has to start quickly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from offline_training.simulation.scanner import Phantom, record_run
from offline_training.simulation.settings import MotionSettings, ScannerSettings, SubjectSettings

_present: list[Phantom] = []  # sent once per process instead of with every run: it is tens of megabytes


@dataclass(frozen=True, eq=False)
class RunJob:
    """One run to scan: evoked signal (n_volumes, n_auditory), seed, pose at rest, settings, and what to write."""

    signal: NDArray[np.float32]
    seed: np.random.SeedSequence
    rest: NDArray[np.float64]
    settings: tuple[SubjectSettings, MotionSettings, ScannerSettings]
    bold: Path
    events: Path
    truth: Path
    events_text: str
    sidecar_text: str


def prepare_worker(phantom: Phantom) -> None:
    """Keep the person for the runs to come."""
    _present[:] = [phantom]


def write_run(job: RunJob) -> None:
    """Scan a run and write image, sidecar, events and truth."""
    phantom = _present[0]
    recording = record_run(phantom, job.signal, job.settings, job.seed, job.rest)
    scanner = job.settings[2]
    # C order of (t, z, y, x) is the order of NIfTI: nothing is copied
    image: Any = nibabel.Nifti1Image(recording.volumes.T, phantom.affine)  # type: ignore[no-untyped-call]
    image.header.set_zooms((*scanner.voxel_mm, scanner.tr_s))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_dim_info(slice=2)
    image.set_sform(phantom.affine, 1)
    image.set_qform(phantom.affine, 1)
    nibabel.save(image, job.bold)
    job.bold.with_suffix(".json").write_text(job.sidecar_text, encoding="utf-8")
    job.events.write_text(job.events_text, encoding="utf-8")
    np.savez(job.truth, motion=recording.motion, signal=job.signal)
