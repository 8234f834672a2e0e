"""How sure the posterior was, and how right: of clips and of genres, with the accuracy of the surest trials."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.scores.reliability import calibration, coverage, top_hits

Floats = NDArray[np.float64]


def sureness(probabilities: Floats, heard: NDArray[np.intp], clip_genres: Sequence[str], seed: int = 0
             ) -> dict[str, Any]:
    """Calibration and accuracy-coverage of a posterior over clips, and of the genres' shares of it.

    Parameters
    ----------
    probabilities : float64 array of shape (n_trials, n_clips)
        Rows sum to 1; at least one.
    heard : intp array of shape (n_trials,)
        Column of the clip heard.
    clip_genres : sequence of str, length n_clips
    """
    names = sorted(set(clip_genres))
    member = np.array([[genre == name for name in names] for genre in clip_genres], np.float64)
    genre_of = member.argmax(axis=1)
    return {what: {"calibration": asdict(calibration(rows, own, seed=seed)),
                   "coverage": asdict(coverage(rows.max(axis=1), top_hits(rows, own)))}
            for what, rows, own in (("clip", probabilities, heard), ("genre", probabilities @ member, genre_of[heard]))}
