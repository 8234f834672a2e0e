"""One set of predictions, judged: every measure with its n, interval and null. Decoders and controls alike."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.scores import standings as of
from offline_training.scores.classes import confusion, genre_hits, nearest_genres
from offline_training.scores.estimates import Estimate, estimate, interval, null_means, null_of
from offline_training.scores.repeats import averages, by_repeat
from offline_training.scores.shuffling import Design, genre_blocks, log_arrangements, shuffles
from realtime.scoring import clip_correlations

Floats = NDArray[np.float64]
TOPS, WAYS = (1, 3, 5), (2, 5, 10, 50)


@dataclass(frozen=True)
class Draws:
    """How often chance is drawn: permutations of the null, resamples of the bootstrap, and the seed of both."""

    n_permutations: int = 2000
    n_resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Judged:
    """Predictions with what was heard, in order of presentation within each run; dummies left out.

    Attributes
    ----------
    predictions : float64 array of shape (n_trials, dim)
        NaN rows for trials without evidence.
    targets : float64 array of shape (n_trials, dim)
        Embeddings of the clips heard, finite.
    clip_ids, genres, run_ids : tuples of str, length n_trials
    """

    predictions: Floats
    targets: Floats
    clip_ids: tuple[str, ...]
    genres: tuple[str, ...]
    run_ids: tuple[str, ...]

    def with_predictions(self, predictions: NDArray[np.floating]) -> "Judged":
        """The same trials, decoded otherwise."""
        return replace(self, predictions=np.asarray(predictions, np.float64))

    def averaged(self) -> "Judged":
        """One row per clip, the mean over its trials with evidence; it belongs to the run it was first heard in."""
        _, first, own = np.unique(list(self.clip_ids), return_index=True, return_inverse=True)
        there = np.isfinite(self.predictions).all(axis=1)
        sums = np.zeros((len(first), self.predictions.shape[1]))
        np.add.at(sums, own[there], self.predictions[there])
        with np.errstate(invalid="ignore"):
            means = sums / np.bincount(own[there], minlength=len(first))[:, None]
        order = np.argsort(first)
        rows = first[order]
        return Judged(means[order], self.targets[rows], *(tuple(names[row] for row in rows) for names in (
            self.clip_ids, self.genres, self.run_ids)))


@dataclass(frozen=True, eq=False)
class Trials:
    """`Judged` against its distinct clips: what every measure begins with.

    Attributes
    ----------
    similarity : float64 array of shape (n_trials, n_clips)
    own : intp array of shape (n_trials,)
    names, genres : tuples of str, length n_clips
    design : Design
    """

    similarity: Floats
    own: NDArray[np.intp]
    names: tuple[str, ...]
    genres: tuple[str, ...]
    design: Design


def trials_of(judged: Judged) -> Trials:
    """Similarities and design of a set of trials.

    Raises
    ------
    ValueError
        Rows that do not belong together, or targets with NaN.
    """
    against = clip_correlations(judged.predictions, judged.targets, judged.clip_ids)
    genre_of = dict(zip(judged.clip_ids, judged.genres, strict=True))
    genres = tuple(genre_of[name] for name in against.names)
    runs = np.unique(list(judged.run_ids), return_inverse=True)[1]
    design = Design(against.own, runs, genre_blocks(judged.genres, judged.run_ids), genres)
    return Trials(against.correlation, against.own, against.names, genres, design)


def scorecard(judged: Judged, draws: Draws | None = None) -> dict[str, Any]:
    """All measures of a set of predictions, ready for JSON.

    Parameters
    ----------
    judged : Judged
    draws : Draws, optional

    Returns
    -------
    card : dict
        An `Estimate` as a dict for each of identification, within_genre, top1, top3, top5, way2, way5, way10, way50,
        mean_rank, genre_top1; median_rank with its null; the genres' confusion and their identification; and how the
        null was drawn.
    """
    draws = draws or Draws()
    trials = trials_of(judged)
    assigned = shuffles(trials.design, draws.n_permutations, draws.seed)
    stand, n_clips = of.standings(trials.similarity), len(trials.names)
    tables = {"identification": (of.identification(stand), 0.5)}
    tables |= {f"top{k}": (of.top(stand, k), min(k / n_clips, 1.0)) for k in TOPS}
    tables |= {f"way{n}": (of.n_way(stand, n), 1 / n) for n in WAYS}
    decoded = nearest_genres(trials.similarity, trials.genres)
    tables["genre_top1"] = (genre_hits(decoded, trials.genres), _mean_share(trials))
    card: dict[str, Any] = {name: _estimate(table, trials, chance, assigned, draws).figures()
                            for name, (table, chance) in tables.items()}
    within = of.identification(of.standings_within(trials.similarity, trials.genres))
    inside = shuffles(trials.design, draws.n_permutations, draws.seed, within_genre=True)
    card["within_genre"] = _estimate(within, trials, 0.5, inside, draws).figures()
    card["mean_rank"], card["median_rank"] = _ranks(of.rank(stand), trials, assigned, draws)
    card["confusion"] = _confusion(judged.genres, decoded)
    card["by_genre"] = _by_genre(tables["identification"][0], trials, assigned, draws)
    card["null"] = {"shuffled": "clips within runs, every block of a run still holding each genre once; within_genre: "
                                "clips of one genre, over all runs",
                    "log10_arrangements": log_arrangements(trials.design) / np.log(10),
                    "n_blocks": len({(int(r), int(b)) for r, b in zip(trials.design.runs, trials.design.blocks,
                                                                     strict=True)}),
                    "n_permutations": draws.n_permutations, "seed": draws.seed}
    return card


def identification_of(judged: Judged, draws: Draws | None = None) -> Estimate:
    """Identification accuracy alone, with interval and null."""
    draws = draws or Draws()
    trials = trials_of(judged)
    assigned = shuffles(trials.design, draws.n_permutations, draws.seed)
    return _estimate(of.identification(of.standings(trials.similarity)), trials, 0.5, assigned, draws)


def identification_per_trial(judged: Judged) -> Floats:
    """Share of rivals each trial's own clip leaves behind, shape (n_trials,); NaN where it cannot be scored."""
    trials = trials_of(judged)
    return of.identification(of.standings(trials.similarity))[np.arange(len(trials.own)), trials.own]


def learning_curve(judged: Judged, draws: Draws | None = None) -> list[dict[str, Any]]:
    """Identification from the mean of k hearings, k = 1 to as many as every clip has, averaged over the choices of k.

    Interval and null are of the mean over choices: a clip's score is the mean of its scores in all of them.
    """
    draws = draws or Draws()
    trials = trials_of(judged)
    repeats = by_repeat(judged.predictions, trials.own, len(trials.names))
    whole = np.isfinite(repeats).all(axis=2).all(axis=1)
    repeats = repeats[:int(np.argmin(whole)) if not whole.all() else len(whole)]
    judged_once = judged.averaged()
    order = [trials.names.index(clip) for clip in judged_once.clip_ids]
    once = trials_of(judged_once)
    assigned, curve = shuffles(once.design, draws.n_permutations, draws.seed), []
    for k in range(1, len(repeats) + 1):
        choices = averages(repeats, k)
        chosen = (trials_of(judged_once.with_predictions(rows[order])).similarity for rows in choices)
        table = np.mean([of.identification(of.standings(similarity)) for similarity in chosen], axis=0)
        curve.append({"repeats": k, "choices": len(choices)} | _estimate(table, once, 0.5, assigned, draws).figures())
    return curve


def _estimate(table: Floats, trials: Trials, chance: float, assigned: NDArray[np.intp], draws: Draws) -> Estimate:
    return estimate(table, trials.own, chance, assigned, draws.n_resamples, draws.seed)


def _mean_share(trials: Trials) -> float:
    """Chance of naming the genre by naming a clip by lot."""
    genres = np.asarray(trials.genres)
    return float(np.mean([(genres == genre).mean() for genre in genres[trials.own]]))


def _ranks(table: Floats, trials: Trials, assigned: NDArray[np.intp], draws: Draws) -> tuple[Any, Any]:
    """Mean rank as an estimate, median rank with interval and null; small is good."""
    mean = _estimate(table, trials, (len(trials.names) + 1) / 2, assigned, draws)
    null = null_of(null_means(table, assigned), mean.value, draws.seed, larger_is_better=False)
    per_trial = table[np.arange(len(trials.own)), trials.own]
    there = np.flatnonzero(np.isfinite(per_trial))
    if not len(there):
        return replace(mean, null=null).figures(), None
    clips, position = np.unique(trials.own[there], return_inverse=True)
    rng = np.random.default_rng(draws.seed)
    times = rng.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), draws.n_resamples)
    drawn = np.array([np.median(np.repeat(per_trial[there], row[position])) for row in times])
    by_chance = np.median(table[there[None, :], assigned[:, there]], axis=1)
    low, high = interval(drawn)
    median = Estimate(float(np.median(per_trial[there])), low, high, mean.chance, mean.n_trials, mean.n_clips,
                      draws.n_resamples, draws.seed,
                      null_of(by_chance, float(np.median(per_trial[there])), draws.seed, larger_is_better=False))
    return replace(mean, null=null).figures(), median.figures()


def _confusion(heard: Sequence[str], decoded: Sequence[str]) -> dict[str, Any]:
    found = confusion(heard, decoded)
    return {"genres": list(found.names), "counts": found.counts.astype(int).tolist(),
            "rows": "heard", "columns": "genre of the most similar clip"}


def _by_genre(table: Floats, trials: Trials, assigned: NDArray[np.intp], draws: Draws) -> dict[str, Any]:
    """Identification of each genre's clips among all clips."""
    genres = np.asarray(trials.genres)
    return {genre: estimate(np.where((genres[trials.own] == genre)[:, None], table, np.nan), trials.own, 0.5, assigned,
                            draws.n_resamples, draws.seed).figures()
            for genre in sorted(set(trials.genres))}
