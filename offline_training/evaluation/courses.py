"""How decoding grows: over a trial's volumes, one by one and together, and with the repeats of a clip."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.evaluation.scorecard import Draws, Judged, identification_of, learning_curve, trials_of
from offline_training.scores.repeats import by_repeat, correlate, half_splits, split_half_reliability
from realtime.scoring import identification_accuracy


def time_course(predictions: NDArray[np.floating], judged: Judged, first_volume: int, tr_s: float,
                draws: Draws | None = None) -> list[dict[str, Any]]:
    """Identification at each volume of a trial.

    Parameters
    ----------
    predictions : float array of shape (n_volumes, n_trials, dim)
        From single volumes, or from the mean of all up to each; NaN where a trial had no such volume.
    judged : Judged
        The trials; its own predictions are not used.
    first_volume : int
        Place of the first row after the onset, from 0.
    tr_s : float

    Returns
    -------
    course : list of dict
        An estimate per row, with `volume` and `seconds` after the onset at which that volume is complete. The first
        volumes of back-to-back clips still carry the clip before, which is never of the same genre: below chance.
    """
    course = []
    for row, rows in enumerate(predictions):
        at = first_volume + row
        course.append({"volume": at, "seconds": (at + 1) * tr_s}
                      | identification_of(judged.with_predictions(rows), draws).figures())
    return course


def repeat_figures(judged: Judged, draws: Draws | None = None) -> dict[str, Any]:
    """What averaging over hearings gives, and how far it could go.

    Returns
    -------
    figures : dict
        `curve` is `learning_curve`. `between_halves`: identification of the decoded mean of one half of the hearings
        among those of the other half, the mean over all splits: what the data say of a clip, whatever the target.
        `embedding_reliability`: split-half reliability of the decoded dimensions (Spearman-Brown, all hearings), its
        median; `embedding_r`: their correlation with the target, `embedding_r_of_ceiling`: that over the root of the
        reliability, medians. None without repeats.
    """
    trials = trials_of(judged)
    repeats = np.asarray(by_repeat(judged.predictions, trials.own, len(trials.names)), np.float64)
    curve = learning_curve(judged, draws)
    if len(curve) < 2:
        return {"curve": curve, "between_halves": None, "embedding_reliability": None, "embedding_r": None,
                "embedding_r_of_ceiling": None, "n_repeats": len(curve)}
    repeats = repeats[:len(curve)]
    names = list(trials.names)
    between = [identification_accuracy(repeats[a].mean(axis=0), repeats[b].mean(axis=0), names).mean
               for one, two in half_splits(len(repeats)) for a, b in ((one, two), (two, one))]
    targets = np.stack([judged.targets[judged.clip_ids.index(name)] for name in names])
    reliability, r = split_half_reliability(repeats), correlate(repeats.mean(axis=0), targets)
    with np.errstate(invalid="ignore"):
        of_ceiling = r / np.sqrt(np.where(reliability > 0.01, reliability, np.nan))
    return {"curve": curve, "between_halves": float(np.mean(between)), "embedding_reliability": _median(reliability),
            "embedding_r": _median(r), "embedding_r_of_ceiling": _median(of_ceiling), "n_repeats": len(repeats)}


def _median(values: NDArray[np.float64]) -> float | None:
    there: Sequence[float] = values[np.isfinite(values)].tolist()
    return float(np.median(there)) if there else None
