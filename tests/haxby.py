"""The real Haxby data (Haxby et al. 2001, one subject, 12 runs, 8 categories) as responses, through the live scaler.

Two cuts of one session: half an axial slice, and the whole brain at 25 mm. Neither can be realigned (2-D; voxels
as large as a lobe), but they come motion-corrected with the parameters published beside them: these give the
displacement that censors volumes and the poses for the causal regression, the rest is the live scaler's, volume by
volume. Blocks of a category are what clips are elsewhere, and a category's vector is what an embedding is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel
import numpy as np
from numpy.typing import NDArray

from offline_training.fit import DecoderFit, fit_decoder
from offline_training.fit_settings import FitSettings
from offline_training.responses import ResponseRun, Responses
from realtime.preprocessing import CausalScaler, PreprocessorSettings
from realtime.scoring import ChanceBand, permutation_band
from realtime.session.events import Event
from tests.recorded_series import DATA

nibabel: Any = untyped_nibabel
FOLDER = DATA / "nifti"
TR_S, N_RUNS, VOLUMES_PER_RUN = 2.5, 12, 121
CATEGORIES = ("face", "house", "shoe", "cat", "scissors", "scrambledpix", "bottle", "chair")
SETTINGS = PreprocessorSettings(tr_s=TR_S, nuisance_motion=6)
LAG_S, BLOCK_S = 5.0, 22.5
_HEAD_RADIUS_MM = 50.0  # of Power's framewise displacement: rotations count as arcs on such a sphere


@dataclass(frozen=True, eq=False)
class HaxbyScore:
    """How well the category seen is identified among the eight, a run left out at a time.

    Attributes
    ----------
    fit : DecoderFit
    identification : float
        Share of the other categories that the seen one's vector beats; chance is 0.5.
    band : ChanceBand
        Of exchanging the categories of the blocks within each run.
    n_blocks, n_voxels : int
    """

    fit: DecoderFit
    identification: float
    band: ChanceBand
    n_blocks: int
    n_voxels: int


def available() -> bool:
    return (FOLDER / "haxby_slice" / "bold.nii.gz").is_file()


def slice_responses() -> Responses:
    """Half an axial slice, 530 voxels of its mask."""
    folder = FOLDER / "haxby_slice"
    mask = np.asarray(nibabel.load(folder / "mask.nii.gz").dataobj) > 0
    samples = np.asarray(nibabel.load(folder / "bold.nii.gz").dataobj, np.float32)[mask].T
    labels = np.loadtxt(folder / "attributes.txt", int)
    runs = [samples[labels[:, 1] == run] for run in range(N_RUNS)]
    events = [_blocks(labels[labels[:, 1] == run, 0]) for run in range(N_RUNS)]
    return _responses(runs, events, np.zeros(samples.shape[1], np.intp), ("slice",))


def brain_responses() -> Responses:
    """The object-selective cortex of the whole brain at 25 mm: 46 voxels, each as large as a lobe's part."""
    folder = FOLDER / "haxby2001_25mm" / "sub001"
    masks = {name: np.asarray(nibabel.load(folder / "masks" / "25mm" / f"{name}.nii.gz").dataobj) > 0
             for name in ("brain", "vt", "hoc")}
    where = masks["brain"] & (masks["vt"] | masks["hoc"])
    runs = [np.asarray(nibabel.load(_run_folder(run) / "bold_25mm.nii.gz").dataobj, np.float32)[where].T
            for run in range(N_RUNS)]
    return _responses(runs, [_onsets(run) for run in range(N_RUNS)], np.zeros(int(where.sum()), np.intp),
                      ("object-selective",))


def score(responses: Responses, seed: int = 0, n_folds: int = N_RUNS) -> HaxbyScore:
    """Ridge to the category vectors, leave-one-run-out, penalties chosen inside the other runs."""
    vectors = dict(zip(CATEGORIES, np.eye(len(CATEGORIES)), strict=True))
    # A category is no recording: every block showed other pictures, so blocks share nothing across runs.
    fit = fit_decoder(responses, vectors.__getitem__,
                      FitSettings(lags_s=(LAG_S,), windows_s=(BLOCK_S,), n_regions=(0,), n_folds=n_folds),
                      lambda run, category: f"{run} {category}")
    band = permutation_band(fit.predictions, fit.targets, list(fit.trials.clip_ids), list(fit.trials.run_ids),
                            seed=seed)
    return HaxbyScore(fit, fit.identification, band, len(fit.targets), len(responses.regions))


def figures(seed: int = 0) -> dict[str, Any]:
    """For the bench: value, p99 of the band and n of both cuts; the slice's, which is held to the bar, at the top."""
    cuts = {name: score(made(), seed) for name, made in (("slice", slice_responses), ("brain_25mm", brain_responses))}
    rows = {name: {"value": cut.identification, "p99": cut.band.p99, "p_value": cut.band.p_value, "n": cut.n_blocks,
                   "n_voxels": cut.n_voxels, "n_permutations": cut.band.n_permutations, "seed": seed}
            for name, cut in cuts.items()}
    return {**rows["slice"], "held": rows["slice"]["value"] > rows["slice"]["p99"], "cuts": rows}


def _run_folder(run: int) -> Path:
    return FOLDER / "haxby2001_25mm" / "sub001" / "BOLD" / f"task001_run{run + 1:03d}"


def _blocks(labels: NDArray[np.intp]) -> tuple[Event, ...]:
    """Blocks of equal labels; 0 is rest."""
    starts = np.flatnonzero((labels > 0) & (np.diff(labels, prepend=0) != 0))
    return tuple(Event(TR_S * start, BLOCK_S, CATEGORIES[labels[start] - 1]) for start in starts)


def _onsets(run: int) -> tuple[Event, ...]:
    folder = FOLDER / "haxby2001_25mm" / "sub001" / "model" / "model001" / "onsets" / f"task001_run{run + 1:03d}"
    key = FOLDER / "haxby2001_25mm" / "models" / "model001" / "condition_key.txt"
    events = []
    for _, condition, name in (line.split() for line in key.read_text().splitlines()):
        onset_s, duration_s, _ = np.loadtxt(folder / f"{condition}.txt")
        events.append(Event(float(onset_s), float(duration_s), name))
    return tuple(sorted(events, key=lambda event: event.onset_s))


def _responses(runs: list[NDArray[np.float32]], events: list[tuple[Event, ...]], regions: NDArray[np.intp],
               names: tuple[str, ...]) -> Responses:
    made = tuple(_scaled(run, samples, events[run]) for run, samples in enumerate(runs))
    return Responses("001", TR_S, made, regions, names)


def _scaled(run: int, samples: NDArray[np.float32], events: tuple[Event, ...]) -> ResponseRun:
    poses = np.loadtxt(_run_folder(run) / "bold_moest.txt")  # rotations in rad, then translations in mm
    steps = np.abs(np.diff(poses, axis=0, prepend=poses[:1]))
    displacement_mm = _HEAD_RADIUS_MM * steps[:, :3].sum(axis=1) + steps[:, 3:].sum(axis=1)
    censored = displacement_mm > SETTINGS.censor_fd_mm
    scaler = CausalScaler(samples.shape[1], SETTINGS)
    features, usable = np.zeros_like(samples), ~censored
    for volume, row in enumerate(samples):
        usable[volume] &= not scaler.settling and scaler.has_baseline
        features[volume] = scaler.push(np.ascontiguousarray(row), bool(censored[volume]), poses[volume])
    return ResponseRun(f"run-{run + 1:02d}", 0, False, features, usable, events, displacement_mm)
