"""What abstaining and moving left of a run's trials: how many decide, and how right those are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.session.record import Document

Figures = dict[str, Any]


def coverage(decoding: Document, heard: Mapping[int, str], last: Mapping[int, Document],
             scores: NDArray[np.float64]) -> Figures:
    """Of the trials that had evidence, those that abstained at their end, and how right the others were.

    Parameters
    ----------
    decoding : dict
        The settings, as the head of the record has them.
    heard : mapping of int to str
        Clip of every trial that is scored.
    last : mapping of int to dict
        Step with the last evidence of each trial that had some.
    scores : float64 array of shape (len(heard),)
        Identification of each trial of `heard`, in order; NaN without evidence.

    Returns
    -------
    dict
        Counts, shares and the numbers of the trials that abstained; a share of no trial is NaN.
    """
    there = [trial for trial in heard if trial in last]
    abstained = [trial for trial in there if last[trial]["abstained"]]
    kept = [trial for trial in there if trial not in set(abstained)]
    by_trial = dict(zip(heard, scores.tolist(), strict=True))
    return {"least_confidence": decoding["least_confidence"], "sure_of": decoding["sure_of"], "trials": len(there),
            "abstained": len(abstained), "coverage": len(kept) / len(there) if there else float("nan"),
            "identification_accuracy": _mean([by_trial[trial] for trial in kept]),
            "top1": _mean([_right(heard[trial], last[trial]) for trial in kept]),
            "top1_of_all": _mean([_right(heard[trial], last[trial]) for trial in there]),
            "abstained_trials": abstained}


def segments(steps: Sequence[Document]) -> list[Figures]:
    """The segments of a free run in order: where each lay, and what it was taken for at its end; none with trials."""
    last: dict[int, Document] = {step["segment"]["number"]: step for step in steps
                                 if step.get("segment") and step["top"]}
    return [{"number": number, "first_volume": step["segment"]["first_volume"], "last_volume": step["volume"],
             "n": step["n"], "clip_id": step["top"][0]["clip_id"], "posterior": step["confidence"],
             "genre": step["genre"], "genre_posterior": step["genre_confidence"], "abstained": step["abstained"]}
            for number, step in sorted(last.items())]


def moved_volumes(steps: Sequence[Document]) -> dict[str, int]:
    """For every trial in which the head moved too much: how many of its volumes were left out for it."""
    counts = Counter(step["trial"] for step in steps if step["status"] == "CENSORED" and step["trial"] >= 0)
    return {str(trial): counts[trial] for trial in sorted(counts)}


def _right(clip_id: str, step: Document) -> float:
    """Whether the most probable clip of the whole catalogue was the one heard."""
    return float(step["top"][0]["clip_id"] == clip_id)


def _mean(values: Sequence[float]) -> float:
    there = [value for value in values if np.isfinite(value)]
    return float(np.mean(there)) if there else float("nan")
