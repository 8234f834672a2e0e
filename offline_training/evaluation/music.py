"""Music against the music heard: identification, classes and distance, each beside what shuffled clips give.

The music is whatever has vectors in one space: what was decoded, or what was retrieved, generated or played and then
embedded again by an embedder that chose nothing of it.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from offline_training.evaluation.scorecard import Draws, Judged, identification_of, trials_of
from offline_training.kernel_distance import kernel_distance
from offline_training.scores.classes import agreement
from offline_training.scores.estimates import estimate
from offline_training.scores.shuffling import shuffles
from realtime.music.attributes import CLASSES, AttributeProbes


def class_agreement(judged: Judged, probes: AttributeProbes, tops: Mapping[str, int], draws: Draws) -> dict[str, Any]:
    """Agreement of the labels that read-outs find most probable in the music and in what was heard.

    Parameters
    ----------
    judged : Judged
        In the space of the read-outs.
    probes : AttributeProbes
    tops : mapping of str to int
        How many labels are compared, for each kind.
    draws : Draws
    """
    trials, found = trials_of(judged), {}
    assigned = shuffles(trials.design, draws.n_permutations, draws.seed)
    heard = np.stack([judged.targets[judged.clip_ids.index(name)] for name in trials.names])
    for kind, n in tops.items():
        said, true = (np.asarray(probes.logits(kind, rows.astype(np.float32)), np.float64)
                      for rows in (judged.predictions, heard))
        labels = len(probes.names(kind))
        found[kind] = {"top": n, "n_labels": labels, "formula": "labels in both top sets over n"} | estimate(
            agreement(said, true, n), trials.own, n / labels, assigned, draws.n_resamples, draws.seed).figures()
    return found


def music_card(judged: Judged, probes: AttributeProbes | None, draws: Draws) -> dict[str, Any]:
    """What can be said of a set of music, ready for JSON.

    Parameters
    ----------
    judged : Judged
        The music as predictions, what was heard as targets, in one space; NaN rows are left out.
    probes : AttributeProbes or None
        Read-outs of that space; without them nothing is said of classes.
    draws : Draws

    Returns
    -------
    card : dict
        `identification` and, with read-outs, each of CLASSES (the most probable label is the same) as an `Estimate`;
        `kernel_distance` to the distinct clips heard, None with fewer than two of either.
    """
    card: dict[str, Any] = {"identification": identification_of(judged, draws).figures()}
    if probes is not None:
        card |= class_agreement(judged, probes, dict.fromkeys(CLASSES, 1), draws)
    heard = judged.targets[[judged.clip_ids.index(name) for name in sorted(set(judged.clip_ids))]]
    music = judged.predictions[np.isfinite(judged.predictions).all(axis=1)]
    card["kernel_distance"] = (asdict(kernel_distance(heard, music, draws.n_permutations, draws.seed))
                               if min(len(heard), len(music)) >= 2 else None)
    return card
