"""From responses to a linear decoder with honest out-of-fold predictions.

Ridges per region in kernel space (`offline_training.ridge`): the kernels of regions add up, so ranking them, joining
them, and choosing how many, which lag and which α is algebra on small matrices. A fold is whole runs, and everything
that is chosen for predicting it is chosen on the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from offline_training.calibration import estimate_reliability
from offline_training.errors import FitError
from offline_training.fit_settings import FitSettings
from offline_training.linear_map import LinearMap
from offline_training.region_ridge import Plan, TrainingSet, fit_regions
from offline_training.regions import PARCEL_VOXELS
from offline_training.responses import ResponseRun, Responses
from offline_training.ridge import inner_products
from offline_training.splits import deal_folds
from offline_training.windows import TrialTable, Window, find_trials, growing_rows, last_rows, whole_rows
from realtime.reliability import Reliability
from realtime.scoring import identification_accuracy

Floats = NDArray[np.float64]
_NO_REGIONS = f"no regions are named: every {PARCEL_VOXELS} neighbouring columns are taken for one"


@dataclass(frozen=True, eq=False)
class FoldFit:
    """What was fitted without the runs of a fold."""

    decoder: LinearMap
    window: Window


@dataclass(frozen=True, eq=False)
class DecoderFit:
    """A decoder with its cross-validation.

    Attributes
    ----------
    decoder : LinearMap
        Fitted on all training trials.
    window : Window
        The one chosen on all of them.
    reliability : Reliability
        Of the decoder's evidence after n volumes, from `growing`.
    folds : dict of str to FoldFit
        For each run, what was fitted without its fold: regions, window, α and weights know nothing of it.
    trials : TrialTable
        The rows.
    targets : float64 array of shape (n_trials, dim)
    growing : float64 array of shape (window_volumes, n_trials, dim)
        Out of fold, after n usable volumes; NaN where a trial had fewer.
    predictions : float64 array of shape (n_trials, dim)
        Out of fold, with all volumes of each trial.
    identification : float
        Identification accuracy of `predictions`, rivals being the clips of the same run: clips of the
        other runs were trained on, attract the predictions, and would push noise below chance.
    regions : tuple of str
        Names of the regions it reads, the best first.
    notes : tuple of str
        What the reader should know, a sentence each: what was left out, what could not be tested.
    """

    decoder: LinearMap
    window: Window
    reliability: Reliability
    folds: dict[str, FoldFit]
    trials: TrialTable
    targets: Floats
    growing: Floats
    predictions: Floats
    identification: float
    regions: tuple[str, ...]
    notes: tuple[str, ...]


def fit_decoder(responses: Responses, embeddings: Callable[[str], NDArray[np.floating]],
                settings: FitSettings | None = None, track_of: Callable[[str, str], str] | None = None,
                held: frozenset[str] = frozenset()) -> DecoderFit:
    """Fit a decoder on the training runs.

    Parameters
    ----------
    responses : Responses
        Only its training runs are looked at. Features should be z-scores: voxels are not scaled here.
    embeddings : callable
        Embedding (dim,) of a clip, finite.
    settings : FitSettings, optional
        The recipe.
    track_of : callable, optional
        Run id and clip id to the recording that was heard; the clip's id when left out. One recording is never on
        both sides of a fold's border.
    held : frozenset of str
        Recordings that must not be trained on: those of the test runs. Trials of them are left out.

    Raises
    ------
    FitError
        Fewer than two groups of runs, fewer clips than folds, no trial with enough usable volumes, NaN, or no voxel
        that varies.
    """
    settings = settings or FitSettings()
    material = _material(responses, embeddings, settings, track_of or _itself, held)
    responses, table, fold, targets = material.responses, material.table, material.fold, material.targets
    whole = fit_regions(material.training(np.ones(len(fold), bool)), settings)
    growing = np.full((whole.window.n_volumes, *targets.shape), np.nan)
    folds: dict[str, FoldFit] = {}
    for k in range(int(fold.max()) + 1):
        rest = np.flatnonzero(fold == k)
        without = fit_regions(material.training(fold != k), settings)
        rows = growing_rows(table, rest, responses.tr_s, without.window, without.decoder.voxels)
        n = min(len(rows), len(growing))
        growing[:n, rest] = without.decoder.apply(rows[:n])
        folds |= dict.fromkeys((table.run_ids[t] for t in rest), FoldFit(without.decoder, without.window))
    predictions = last_rows(growing)
    reliability = estimate_reliability(growing, targets, table.clip_ids, table.run_ids, fold)
    return DecoderFit(whole.decoder, whole.window, reliability, folds, table, targets, growing, predictions,
                      within_runs(table, predictions, targets),
                      tuple(material.region_name(region) for region in whole.regions), material.notes)


def fit_linear_map(responses: Responses, embeddings: Callable[[str], NDArray[np.floating]],
                   settings: FitSettings | None = None) -> LinearMap:
    """The decoder of `fit_decoder` alone, in a sixth of the time: nothing says how well it does, test runs have to."""
    settings = settings or FitSettings()
    material = _material(responses, embeddings, settings, _itself, frozenset())
    return fit_regions(material.training(np.ones(len(material.fold), bool)), settings).decoder


def within_runs(trials: TrialTable, predictions: Floats, targets: Floats) -> float:
    """Identification accuracy of `predictions` (n_trials, dim), rivals being the clips of the same run."""
    clips = np.array(trials.clip_ids)
    inside = [trials.run == run for run in np.unique(trials.run)]
    per_trial = np.concatenate([identification_accuracy(predictions[rows], targets[rows],
                                                        clips[rows].tolist()).per_trial for rows in inside])
    return float(np.nanmean(per_trial)) if np.isfinite(per_trial).any() else float("nan")


def _in_stretches(responses: Responses) -> Responses:
    """The same with as many neighbouring columns as a region commonly has taken for one."""
    numbers = np.arange(len(responses.regions)) // PARCEL_VOXELS
    return replace(responses, regions=numbers, region_names=tuple(f"voxels {PARCEL_VOXELS * k} and on"
                                                                  for k in range(int(numbers.max(initial=-1)) + 1)))


def _windows(responses: Responses, settings: FitSettings) -> tuple[Window, ...]:
    if not responses.training:
        raise FitError(f"subject {responses.subject!r} has no training run; name the task of training runs without "
                       "'test'")
    heard = [event.duration_s for run in responses.training for event in run.events if event.clip_id]
    clip_s = float(np.median(heard)) if heard else responses.tr_s
    made = {Window(round(lag_s / responses.tr_s), max(round((window_s or clip_s) / responses.tr_s), 1)): None
            for window_s in settings.windows_s for lag_s in settings.lags_s}
    return tuple(made)


def _check(table: TrialTable) -> None:
    sizes = [int((table.run == place).sum()) for place in range(len(table.runs))]
    sizes = [size for size in sizes if size]
    if len(sizes) < 2 or min(sizes) < 2:
        raise FitError(f"{len(sizes)} training runs with {sizes} trials: cross-validation leaves one run out and needs "
                       "at least 2 runs of at least 2 trials; record more, or leave out runs with few usable volumes")


def _itself(_run: str, clip: str) -> str:
    return clip


def _material(responses: Responses, embeddings: Callable[[str], NDArray[np.floating]], settings: FitSettings,
              track_of: Callable[[str, str], str], held: frozenset[str]) -> "_Material":
    """Everything that a recipe is fitted on; parameters and errors as `fit_decoder`."""
    named = responses
    if not responses.region_names:
        responses = _in_stretches(responses)
    windows = _windows(responses, settings)
    held |= {track_of(run.run_id, event.clip_id) for run in responses.test for event in run.events if event.clip_id}
    table = find_trials(responses.training, responses.tr_s, windows, settings.smallest_share,
                        lambda run, clip: track_of(run, clip) in held)
    tracks = [track_of(run, clip) for run, clip in zip(table.run_ids, table.clip_ids, strict=True)]
    _check(table)
    fold = deal_folds(table.run_ids, tracks, settings.n_folds)
    targets = np.stack([np.asarray(embeddings(clip), np.float64) for clip in table.clip_ids])
    if not np.isfinite(targets).all():
        raise FitError("embeddings of the clips heard hold NaN or Inf; index the corpus again")
    return _Material(responses, table, targets, fold, windows, () if responses is named else (_NO_REGIONS,))


class _Material:
    """Rows and kernels of all training trials, for every window, by region; computed once."""

    def __init__(self, responses: Responses, table: TrialTable, targets: Floats, fold: NDArray[np.intp],
                 windows: Sequence[Window], notes: tuple[str, ...]) -> None:
        self.responses, self.table, self.targets, self.fold = responses, table, targets, fold
        self._names = responses.region_names
        rows = {window: whole_rows(table, responses.tr_s, window) for window in windows}
        varies = np.ptp(rows[windows[0]], axis=0) > 0
        self._columns = _columns_of_regions(responses.regions, varies)
        self.notes = (*notes, *_notes(responses.training, responses.regions, self._names, varies))
        if not self._columns:
            raise FitError(f"none of the {len(varies)} voxels of {len(self._names)} regions varies over the training "
                           "trials; look at the runs, and at where the regions lie")
        self._plans = tuple(Plan(window, rows[window], self._kernels(rows[window])) for window in windows)

    def _kernels(self, rows: NDArray[np.float32]) -> Floats:
        kernels = np.empty((len(self._columns), len(rows), len(rows)))
        for place, columns in enumerate(self._columns.values()):
            if not np.isfinite(rows[:, columns]).all():
                raise FitError("features hold NaN or Inf; leave those voxels or rows out")
            kernels[place] = inner_products(rows[:, columns])
        return kernels

    def training(self, known: NDArray[np.bool_]) -> TrainingSet:
        return TrainingSet(self._plans, tuple(self._columns.values()), self.targets, self.fold, known)

    def region_name(self, place: int) -> str:
        return self._names[list(self._columns)[place]]


def _columns_of_regions(regions: NDArray[np.intp], varies: NDArray[np.bool_]) -> dict[int, NDArray[np.intp]]:
    numbers = np.unique(regions[(regions >= 0) & varies])
    return {int(number): np.flatnonzero((regions == number) & varies) for number in numbers}


def _notes(runs: Sequence[ResponseRun], regions: NDArray[np.intp], names: tuple[str, ...],
           varies: NDArray[np.bool_]) -> tuple[str, ...]:
    notes = []
    empty = [name for number, name in enumerate(names) if not (regions == number).any()]
    if empty:
        notes.append(f"{len(empty)} of {len(names)} regions hold no voxel and are left out: {', '.join(empty[:8])}")
    constant = int((~varies & (regions >= 0)).sum())
    if constant:
        notes.append(f"{constant} of {int((regions >= 0).sum())} voxels never vary and are left out")
    if len({run.session for run in runs}) == 1:
        notes.append("all training runs are of one session: what changes from session to session was not tested")
    return tuple(notes)
