"""The simulated person beside published figures: every row of what is known, over several seeds.

Published figures: Brain2Music (arXiv 2307.11078, Table 2), Ciferri et al. 2025 (Sci Rep 15:42108, its notebook for
single trials and for the curve over volumes, less the 1/59 by which its `>=` inflates), and a prototype of the same
recipe, for what nobody has published.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.evaluation.trial_rows import TrialRows, trial_rows
from offline_training.fit import fit_linear_map
from offline_training.fit_settings import BRAIN2MUSIC
from offline_training.linear_map import LinearMap
from offline_training.progress import Progress, counted
from offline_training.responses import ResponseRun, Responses
from offline_training.scores.repeats import by_repeat
from offline_training.simulation.array_scaling import filtered_as_published, scaled_causally
from offline_training.simulation.music import Music
from offline_training.simulation.session_responses import (
    ResponseSettings,
    SimulatedSamples,
    sample_responses,
    simulate_samples,
)
from offline_training.windows import Window
from realtime.scoring import identification_accuracy, permutation_band

LAGS = tuple(range(6))
VOLUMES = tuple(range(14))
GAINS = (0.7, 0.5, 0.35, 0.25, 0.1)
FEWER_VOXELS = 300
WHOLE = Window(3, 10)
"""Of a trial; the paper names no lag, three volumes and ten are its successors'."""


@dataclass(frozen=True)
class Row:
    """A figure that is known from elsewhere: its name here, what it is, its value, and where it is from."""

    key: str
    what: str
    known: float
    source: str


def _rows() -> tuple[Row, ...]:
    paper, single, prototype = "Brain2Music", "Ciferri 2025", "prototype"
    rows = [Row("id4", "identification, test, 4 repeats averaged", 0.876, paper),
            Row("id1", "identification, single trial", 0.824, single),
            Row("r_test", "r, test, 4 repeats averaged", 0.307, paper), Row("r_train", "r, training", 0.538, paper),
            Row("id_train", "identification, training", 0.992, paper),
            Row("genre_top1", "genre of ten, single trial", 0.339, "SVM on ds003720"),
            Row("reliability_p95", "repeat reliability of clip means, p95 voxel", 0.24, prototype),
            Row("id1_causal", "identification, single trial, causal, trained causally", 0.839, prototype),
            Row("id_genre_known", "identification if only the genre is known", 0.868, prototype),
            Row("null_sd", "SD of the permutation null, 60 clips", 0.037, prototype),
            Row("null_p95", "p95 of the permutation null", 0.561, prototype),
            Row("null_p99", "p99 of the permutation null", 0.586, prototype),
            Row("id4_voxels_300", f"identification, 4 repeats, {FEWER_VOXELS} voxels", 0.819, prototype)]
    rows += [Row(f"id4_lag_{lag}", f"identification, 4 repeats, lag {lag}", known, prototype)
             for lag, known in zip(LAGS, (0.780, 0.832, 0.861, 0.875, 0.873, 0.874), strict=True)]
    rows += [Row(f"id1_lag_{lag}", f"identification, single trial, lag {lag}", known, prototype)
             for lag, known in zip(LAGS, (0.734, 0.787, 0.818, 0.835, 0.838, 0.827), strict=True)]
    of_volumes = (0.44, 0.45, 0.53, 0.66, 0.76, 0.81, 0.81, 0.82, 0.82, 0.82, 0.82, 0.80, 0.77, 0.67)
    rows += [Row(f"id1_volume_{v}", f"single trial, volume {v} alone, decoder of means", known, prototype)
             for v, known in zip(VOLUMES, of_volumes, strict=True)]
    own = (0.726, 0.757, 0.779, 0.781, 0.767, 0.775, 0.760, 0.732, 0.723, 0.640)
    rows += [Row(f"id4_volume_{v}", f"4 repeats, volume {v} ({1.5 * v:g} s), decoder of its own",
                 round(known - 1 / 59, 3), single) for v, known in zip(VOLUMES[3:13], own, strict=True)]
    cumulative = {3: 0.66, 4: 0.72, 5: 0.77, 6: 0.80, 7: 0.81, 8: 0.82, 9: 0.83, 11: 0.836}
    rows += [Row(f"id1_until_{v}", f"single trial, mean of volumes 3 to {v}", known, prototype)
             for v, known in cumulative.items()]
    weak = ((0.811, 0.777, 0.735, 0.689, 0.593), (0.859, 0.840, 0.806, 0.764, 0.640))
    for name, values in zip(("id1", "id4"), weak, strict=True):
        trials = "single trial" if name == "id1" else "4 repeats"
        rows += [Row(f"{name}_gain_{gain:g}", f"{trials}, test signal × {gain:g}", known, prototype)
                 for gain, known in zip(GAINS, values, strict=True)]
    return tuple(rows)


ROWS = _rows()


@dataclass(frozen=True, eq=False)
class _Test:
    """Test rows with what was decoded from them, single and averaged over the repeats of a clip."""

    rows: TrialRows
    predictions: NDArray[np.float64]
    music: Music

    @property
    def single(self) -> float:
        """Identification accuracy of single trials."""
        return identification_accuracy(self.predictions, targets_of(self.rows, self.music),
                                       self.rows.heard.clip_ids).mean

    @property
    def averaged(self) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
        """Predictions and targets of each clip, and its name."""
        clips = np.array(self.rows.heard.clip_ids)
        names = sorted(set(self.rows.heard.clip_ids))
        means = np.stack([self.predictions[clips == name].mean(axis=0) for name in names])
        return means, np.stack([self.music.embedding(name) for name in names]).astype(np.float64), names

    @property
    def repeated(self) -> float:
        """Identification accuracy of the averages."""
        return identification_accuracy(*self.averaged).mean


def calibrate(seeds: Sequence[int], settings: ResponseSettings | None = None,
              progress: Progress | None = None) -> dict[str, Any]:
    """Figures of one person per seed beside what is known, ready for JSON.

    Returns
    -------
    report : dict
        `rows`: for each known figure `key`, `what`, `known`, `source`, `mean`, `sd` over seeds, `values`.
    """
    settings = settings or ResponseSettings()
    people = list(counted((figures_of(seed, settings) for seed in seeds), "simulating people", len(seeds), progress))
    rows = []
    for row in ROWS:
        values = [person[row.key] for person in people]
        rows.append({"key": row.key, "what": row.what, "known": row.known, "source": row.source,
                     "mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                     "values": values})
    return {"seeds": list(seeds), "n_training_trials": 480, "n_test_trials": 240, "rows": rows}


def figures_of(seed: int, settings: ResponseSettings) -> dict[str, float]:
    """All figures of one person."""
    sampled = simulate_samples(settings, seed)
    published = _published(sampled)
    music = sampled.person.music
    whole, figures = main_figures(published, music)
    figures |= _null(_decoded(whole, published, music))
    causal = scaled_causally(sampled.runs, sampled.parcels.regions, sampled.parcels.names,
                             replace(settings.preprocessing, tr_s=published.tr_s))
    figures["id1_causal"] = _decoded(fit_published(causal, music), causal, music).single
    figures |= {"reliability_p95": _reliability(published), "id_genre_known": genre_known(music)}
    figures |= _few_voxels(published, music, seed) | _over_lags(published, music, figures)
    figures |= _over_volumes(whole, published, music) | _over_gains(whole, sampled)
    return figures


def fit_published(responses: Responses, music: Music, window: Window = WHOLE) -> LinearMap:
    """The paper's recipe on all training trials, with `window` in place of its lag and window."""
    tr_s = responses.tr_s
    settings = replace(BRAIN2MUSIC, lags_s=(window.lag_volumes * tr_s,), windows_s=(window.n_volumes * tr_s,))
    return fit_linear_map(responses, music.embedding, settings)


def rows_of(runs: Sequence[ResponseRun], tr_s: float, window: Window = WHOLE) -> TrialRows:
    """Every trial with any usable volume of its window."""
    return trial_rows(runs, tr_s, window.lag_volumes, window.n_volumes, smallest_share=0.0)


def targets_of(rows: TrialRows, music: Music) -> NDArray[np.float64]:
    """Embeddings (n, dim) of what was heard."""
    return np.stack([music.embedding(clip) for clip in rows.heard.clip_ids]).astype(np.float64)


def main_figures(responses: Responses, music: Music) -> tuple[LinearMap, dict[str, float]]:
    """The published recipe and its identification, r and genre figures."""
    whole = fit_published(responses, music)
    test, training = _decoded(whole, responses, music), rows_of(responses.training, responses.tr_s)
    wanted, guessed = targets_of(training, music), whole.predict(training.features)
    means, targets, _ = test.averaged
    figures = {"id4": test.repeated, "id1": test.single, "r_test": rowwise_correlation(means, targets),
               "r_train": rowwise_correlation(guessed, wanted),
               "id_train": identification_accuracy(guessed, wanted, training.heard.clip_ids).mean}
    names = sorted(set(training.heard.genres))
    centre, genres = wanted.mean(axis=0), np.array(training.heard.genres)
    middle = np.stack([wanted[genres == name].mean(axis=0) for name in names]) - centre
    closest = np.argmax(_unit(test.predictions - centre) @ _unit(middle).T, axis=1)
    figures["genre_top1"] = float(np.mean([names[k] == genre for k, genre in
                                           zip(closest, test.rows.heard.genres, strict=True)]))
    return whole, figures


def rowwise_correlation(predicted: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Mean over trials of Pearson's correlation across dimensions: Brain2Music's C_ii."""
    p = predicted - predicted.mean(axis=1, keepdims=True)
    w = wanted - wanted.mean(axis=1, keepdims=True)
    return float(np.mean((p * w).sum(axis=1) / np.maximum(np.sqrt((p**2).sum(axis=1) * (w**2).sum(axis=1)), 1e-12)))


def genre_known(music: Music) -> float:
    """Identification of the test clips if of each its genre's mean over the training clips is decoded."""
    genres = np.array(music.genres)
    test = np.flatnonzero(~music.training)
    guesses = [music.embeddings[(genres == genres[row]) & music.training].mean(axis=0) for row in test]
    return identification_accuracy(np.stack(guesses), music.embeddings[test],
                                   [music.clip_ids[row] for row in test]).mean


def _published(sampled: SimulatedSamples) -> Responses:
    return filtered_as_published(sampled.runs, sampled.parcels.regions, sampled.parcels.names,
                                 sampled.person.settings.scanner.tr_s)


def _decoded(decoder: LinearMap, responses: Responses, music: Music, window: Window = WHOLE) -> _Test:
    rows = rows_of(responses.test, responses.tr_s, window)
    return _Test(rows, decoder.predict(rows.features), music)


def _null(test: _Test) -> dict[str, float]:
    """Of exchanging all clips, not only within runs: what the known figures are."""
    means, targets, names = test.averaged
    band = permutation_band(means, targets, names, n_permutations=2000)
    # the null is close to Gaussian: its quartiles are not told, its 95 % point is
    return {"null_sd": (band.p95 - band.p50) / 1.645, "null_p95": band.p95, "null_p99": band.p99}


def _reliability(responses: Responses) -> float:
    rows = rows_of(responses.test, responses.tr_s)
    names = sorted(set(rows.heard.clip_ids))
    own = np.array([names.index(clip) for clip in rows.heard.clip_ids])
    clips = by_repeat(rows.features, own, len(names))
    pairs = [_columns(clips[a], clips[b]) for a in range(len(clips)) for b in range(a)]
    return float(np.percentile(np.mean(pairs, axis=0), 95))


def _columns(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating]:
    there = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    a, b = one[there] - one[there].mean(axis=0), other[there] - other[there].mean(axis=0)
    return np.asarray((a * b).sum(axis=0) / np.maximum(np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)), 1e-12))


def _few_voxels(responses: Responses, music: Music, seed: int) -> dict[str, float]:
    """As many voxels of each region as make `FEWER_VOXELS` in all."""
    n = len(responses.regions)
    kept = np.sort(np.random.default_rng([seed, 13]).permutation(n)[: min(FEWER_VOXELS, n)])
    runs = tuple(replace(run, responses=np.ascontiguousarray(run.responses[:, kept])) for run in responses.runs)
    fewer = replace(responses, runs=runs, regions=responses.regions[kept])
    return {"id4_voxels_300": _decoded(fit_published(fewer, music), fewer, music).repeated}


def _over_lags(responses: Responses, music: Music, known: dict[str, float]) -> dict[str, float]:
    figures = {f"id4_lag_{WHOLE.lag_volumes}": known["id4"], f"id1_lag_{WHOLE.lag_volumes}": known["id1"]}
    for lag in LAGS:
        if lag != WHOLE.lag_volumes:
            window = replace(WHOLE, lag_volumes=lag)
            test = _decoded(fit_published(responses, music, window), responses, music, window)
            figures |= {f"id4_lag_{lag}": test.repeated, f"id1_lag_{lag}": test.single}
    return figures


def _over_volumes(whole: LinearMap, responses: Responses, music: Music) -> dict[str, float]:
    figures: dict[str, float] = {}
    for volume in VOLUMES:
        alone = Window(volume, 1)
        figures[f"id1_volume_{volume}"] = _decoded(whole, responses, music, alone).single
        if 3 <= volume <= 12:
            own = fit_published(responses, music, alone)
            figures[f"id4_volume_{volume}"] = _decoded(own, responses, music, alone).repeated
            figures[f"id1_until_{volume}"] = _decoded(whole, responses, music, Window(3, volume - 2)).single
    return figures


def _over_gains(whole: LinearMap, sampled: SimulatedSamples) -> dict[str, float]:
    """The decoder of the full signal on weaker test runs."""
    person = sampled.person
    figures: dict[str, float] = {}
    pairs = [pair for pair in zip(person.plans, range(len(person.plans)), strict=True) if pair[0].task == "Test"]
    for gain in GAINS:
        seeds = person.seeds()
        runs = [sample_responses(person, plan, seeds[place], sampled.parcels.voxels, gain) for plan, place in pairs]
        weaker = filtered_as_published(runs, sampled.parcels.regions, sampled.parcels.names,
                                       person.settings.scanner.tr_s)
        test = _decoded(whole, weaker, person.music)
        figures |= {f"id1_gain_{gain:g}": test.single, f"id4_gain_{gain:g}": test.repeated}
    return figures


def _unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
