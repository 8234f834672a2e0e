"""Offline against live on the same data: what a session said while it ran, and what its run gives afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from offline_training.evaluation.scorecard import Draws, Judged, identification_per_trial, trials_of
from offline_training.scores.estimates import paired_difference
from realtime.session.attempts import last_attempt
from realtime.session.folder import SessionFolder
from realtime.session.record import decode_vector, read_documents


@dataclass(frozen=True, eq=False)
class LiveEvidence:
    """Every decoded vector of a session.

    Attributes
    ----------
    run_id : str
        Of the acquisition; a replay's says nothing of the run that was replayed.
    clip_ids : dict of int to str
        What was heard in each trial that counts, by trial.
    embeddings : dict of (int, int) to float32 array of shape (dim,)
        By trial, from 0, and number of usable volumes.
    bundle_sha256 : str
        Of the manifest it was decoded with; "" where the record does not say.
    """

    run_id: str
    clip_ids: dict[int, str]
    embeddings: dict[tuple[int, int], NDArray[np.float32]]
    bundle_sha256: str


def read_live(session: Path) -> LiveEvidence:
    """The decoded vectors of a recorded session's last attempt.

    Raises
    ------
    DatasetError
        No record there, or one without a start.
    """
    documents = last_attempt(read_documents(SessionFolder(session).record))
    start = next((document for document in documents if document["doc"] == "start"), None)
    if start is None:
        raise DatasetError(f"no session in {session}: {SessionFolder(session).record.name} is missing or has no start; "
                           "give the folder of a session that saw at least its run header")
    vectors = {(int(step["trial"]), int(step["n"])): decode_vector(step["embedding"]) for step in documents
               if step["doc"] == "step" and step.get("embedding") and int(step["trial"]) >= 0}
    clips = {int(trial["trial"]): str(trial["clip_id"]) for trial in start.get("trials", ())
             if trial.get("clip_id") and not trial.get("is_dummy")}
    return LiveEvidence(str(start["run"]["run_id"]).removesuffix("_bold"), clips, vectors,
                        str(start.get("bundle", {}).get("sha256", "")))


def against_live(live: LiveEvidence, numbers: Sequence[int], embeddings: NDArray[np.float32], judged: Judged,
                 draws: Draws | None = None) -> dict[str, Any]:
    """How far offline and live decoding of one run are apart.

    Parameters
    ----------
    live : LiveEvidence
    numbers : sequence of int, length n_trials
        Place of the offline trials among the run's events.
    embeddings : float32 array of shape (window_volumes, n_trials, dim)
        Offline, element [n-1, t] after n usable volumes; NaN where a trial had fewer.
    judged : Judged
        The same trials, with the offline predictions of all their volumes.
    draws : Draws, optional

    Returns
    -------
    figures : dict
        `largest_difference` of all vectors that both have, and how many; vectors that only one has; identification of
        each, and their paired difference, live minus offline.
    """
    draws = draws or Draws()
    offline = {(number, n + 1): embeddings[n, t] for t, number in enumerate(numbers) for n in range(len(embeddings))
               if np.isfinite(embeddings[n, t]).all()}
    wanted = {key: row for key, row in live.embeddings.items() if key[0] in set(numbers)}
    both = sorted(offline.keys() & wanted.keys())
    largest = max((float(np.abs(offline[key] - wanted[key]).max()) for key in both), default=None)
    last = np.full(judged.predictions.shape, np.nan)
    for t, number in enumerate(numbers):
        said = [n for trial, n in wanted if trial == number]
        if said:
            last[t] = wanted[number, max(said)]
    trials = trials_of(judged)
    live_scores, offline_scores = identification_per_trial(judged.with_predictions(last)), identification_per_trial(
        judged)
    difference = paired_difference(live_scores, offline_scores, trials.own, len(trials.names), draws.n_resamples,
                                   draws.seed)
    return {"largest_difference": largest, "n_vectors": len(both),
            "n_only_live": len(wanted.keys() - offline.keys()), "n_only_offline": len(offline.keys() - wanted.keys()),
            "identification_live": _mean(live_scores), "identification_offline": _mean(offline_scores),
            "live_minus_offline": difference.figures()}


def _mean(scores: NDArray[np.float64]) -> float | None:
    there = scores[np.isfinite(scores)]
    return float(there.mean()) if len(there) else None
