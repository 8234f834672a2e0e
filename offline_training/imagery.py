"""What a visit says of imagination: identification against hearing, learning over runs, transfer, and groups of people.

Scores are the live session's own (`realtime.scoring`) on the vectors in its records; nothing is decoded again.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from offline_training.errors import DatasetError
from offline_training.group_figures import read_groups
from offline_training.scores.people import difference_of_means
from offline_training.sound_regressor import sound_response, without_sound
from realtime.atomic import without_nan
from realtime.experiment.phases import Phase
from realtime.experiment.run_design import RunDesign, read_run_design
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.scoring import identification_accuracy, permutation_band, rank_score
from realtime.session.attempts import last_attempt
from realtime.session.folder import SessionFolder
from realtime.session.record import Document, decode_vector, read_documents

_N_PERMUTATIONS = 5000
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class VisitTrial:
    """One measured phase of a visit.

    Attributes
    ----------
    run : str
        Folder of its run.
    kind : str
        Of the run, as the plan has it.
    task : {"listen", "imagine", "catch"}
    clip_id : str
        Heard, imagined, or named by a cue that asked for nothing.
    decoded : float64 array of shape (dim,)
        The last evidence; NaN without any.
    score : float
        Nearness to the target by the person's own decoder; NaN without target or evidence.
    vividness : float
        As rated; NaN where it was not.
    sound : float
        Mean expected response to what was played, over the volumes of its evidence; NaN where that is not known.
    """

    run: str
    kind: str
    task: str
    clip_id: str
    decoded: Floats
    score: float
    vividness: float
    sound: float = math.nan


@dataclass(frozen=True, eq=False)
class RecordedVisit:
    """A visit with all trials of the runs that were completed, in order.

    Attributes
    ----------
    subject : str
    trials : tuple of VisitTrial
    catalogue : Catalogue
        Embeddings of what was heard and imagined.
    """

    subject: str
    trials: tuple[VisitTrial, ...]
    catalogue: Catalogue


def read_visit(path: Path) -> RecordedVisit:
    """The trials of a visit's completed runs.

    Raises
    ------
    DatasetError
        No visit there, or none of its runs with trials is complete.
    """
    diary = list(read_documents(path / "diary.jsonl"))
    if not diary or diary[0].get("what") != "plan":
        raise DatasetError(f"no visit in {path}: diary.jsonl is missing or does not begin with a plan; name the "
                           "folder of an `innerear session`")
    kinds = {str(name): str(kind) for name, kind, *_ in diary[0]["runs"]}
    done = [str(entry["run"]) for entry in diary if entry["what"] == "ended" and entry.get("status") == "complete"]
    trials = tuple(trial for run in done for trial in _trials(path / run, kinds[_name_of(run)]))
    if not trials:
        raise DatasetError(f"visit {path} has no completed run with trials yet; look at it when one has ended")
    catalogue = read_catalogue(SessionFolder(path / trials[0].run).catalogue, check_audio=False)
    return RecordedVisit(str(diary[0]["subject"]), trials, catalogue)


def _name_of(run: str) -> str:
    """The plan's name of a run's folder: without its place, and without the number of its repeat."""
    name = run.split("-", 1)[1]
    head, _, repeat = name.rpartition("_")
    return head if head and repeat.isdecimal() and int(repeat) > 1 else name


def _trials(path: Path, kind: str) -> Iterator[VisitTrial]:
    folder = SessionFolder(path)
    design = read_run_design(folder.design)
    documents = last_attempt(read_documents(folder.record))
    steps: dict[int, Document] = {step["trial"]: step for step in documents
                                  if step["doc"] == "step" and step["embedding"] is not None}
    ratings, sound = _ratings(documents, design), _sound(documents, design)
    for number, phase in enumerate(design.measured):
        step = steps.get(number)
        decoded = np.array([np.nan]) if step is None else decode_vector(step["embedding"]).astype(np.float64)
        score = np.nan if step is None or step["score"] is None else float(step["score"])
        yield VisitTrial(path.name, kind, phase.kind, phase.clip_id, decoded, score, ratings.get(phase.trial, np.nan),
                         sound.get(number, np.nan))


def _sound(documents: Sequence[Document], design: RunDesign) -> dict[int, float]:
    """By trial: the mean expected response to what was played, over the volumes that were its evidence."""
    steps = [step for step in documents if step["doc"] == "step" and "playing" in step]
    response = sound_response(steps, design.acquisition)
    found: dict[int, list[float]] = {}
    for step, value in zip(steps, response, strict=True):
        if step["trial"] >= 0 and step["status"] == "OK" and not step.get("masked"):
            found.setdefault(step["trial"], []).append(float(value))
    return {trial: float(np.mean(values)) for trial, values in found.items()}


def _ratings(documents: Sequence[Document], design: RunDesign) -> dict[int, float]:
    """Vividness by trial: the last value given while the trial, or its rating phase, was on."""
    rated: dict[int, float] = {}
    for document in documents:
        if document["doc"] == "event" and document["name"] == "rate" and document.get("value") is not None:
            trial = _trial_at(design.phases, document["before_volume"])
            if trial >= 0:
                rated[trial] = float(document["value"])
    return rated


def _trial_at(phases: Sequence[Phase], volume: int) -> int:
    return next((phase.trial for phase in reversed(phases) if phase.first_volume <= volume), -1)


def visit_figures(visit: RecordedVisit, seed: int = 0) -> dict[str, Any]:
    """All figures of a visit, ready for JSON.

    Parameters
    ----------
    visit : RecordedVisit
    seed : int
        Of every permutation.
    """
    tasks = {task: _identified(visit, [trial for trial in visit.trials if trial.task == task], seed)
             for task in ("listen", "imagine", "catch")}
    both = all(tasks[task]["trials"] for task in ("listen", "imagine"))
    figures: dict[str, Any] = without_nan({
        "subject": visit.subject, **tasks,
        "imagine_minus_listen": tasks["imagine"]["identification"] - tasks["listen"]["identification"]
        if both else None, "imagine_without_sound": _soundless(visit, seed),
        "learning": learning(visit, seed), "transfer": transfer(visit, seed),
        "vividness": vividness(visit)})
    return figures


def _identified(visit: RecordedVisit, trials: Sequence[VisitTrial], seed: int) -> dict[str, Any]:
    """Identification and rank of some trials, with the chance band."""
    clips = [trial.clip_id for trial in trials]
    decoded, targets = _rows(visit, trials)
    score = identification_accuracy(decoded, targets, clips)
    band = permutation_band(decoded, targets, clips, [trial.run for trial in trials], _N_PERMUTATIONS, seed)
    ranks = rank_score(decoded, targets, clips)
    return {"identification": score.mean, "trials": score.n_trials, "chance_p95": band.p95, "chance_p99": band.p99,
            "p_value": band.p_value, "median_rank": ranks.median_rank, "candidates": ranks.n_candidates,
            "per_trial": [float(each) for each in score.per_trial]}


def _soundless(visit: RecordedVisit, seed: int) -> dict[str, Any] | None:
    """Identification of imagery without what goes with the level of the sound; None where that never changed."""
    trials = [trial for trial in visit.trials if trial.task == "imagine"]
    decoded, _ = _rows(visit, trials)
    cleaned = without_sound(decoded, np.array([trial.sound for trial in trials]))
    if cleaned is None:
        return None
    return _identified(visit, [replace(trial, decoded=row) for trial, row in zip(trials, cleaned, strict=True)], seed)


def _rows(visit: RecordedVisit, trials: Sequence[VisitTrial]) -> tuple[Floats, Floats]:
    dim = visit.catalogue.space.dim
    decoded = [trial.decoded if len(trial.decoded) == dim else np.full(dim, np.nan) for trial in trials]
    targets = [visit.catalogue.embedding(trial.clip_id) for trial in trials]
    return (np.array(decoded, np.float64).reshape(len(trials), dim),
            np.array(targets, np.float64).reshape(len(trials), dim))


def learning(visit: RecordedVisit, seed: int = 0) -> dict[str, Any]:
    """Whether the person's own score rose over the feedback runs: slope per run, by permutation of trials."""
    trials = [trial for trial in visit.trials if trial.kind == "feedback" and np.isfinite(trial.score)]
    runs = list(dict.fromkeys(trial.run for trial in trials))
    means = {run: float(np.mean([trial.score for trial in trials if trial.run == run])) for run in runs}
    if len(trials) < 4:
        return {"runs": means, "trials": len(trials), "slope_per_run": None, "p_value": None}
    scores, order = np.array([trial.score for trial in trials]), np.arange(len(trials)) / (len(trials) / len(runs))
    test = stats.permutation_test((scores,), lambda drawn: stats.linregress(order, drawn).slope,
                                  permutation_type="pairings", n_resamples=_N_PERMUTATIONS, alternative="greater",
                                  vectorized=False, rng=np.random.default_rng(seed))
    return {"runs": means, "trials": len(trials), "slope_per_run": float(test.statistic), "p_value": float(test.pvalue)}


def transfer(visit: RecordedVisit, seed: int = 0) -> dict[str, Any]:
    """Imagery without feedback after the training against before it: identification, with a permutation of trials."""
    imagined = [trial for trial in visit.trials if trial.task == "imagine"]
    after = [trial for trial in imagined if trial.kind == "transfer"]
    before = [trial for trial in imagined if trial.kind in ("warm-up", "imagine")]
    return difference_of_means(_per_trial(visit, after), _per_trial(visit, before), ("after", "before"), seed)


def _per_trial(visit: RecordedVisit, trials: Sequence[VisitTrial]) -> Floats:
    decoded, targets = _rows(visit, trials)
    scores = identification_accuracy(decoded, targets, [trial.clip_id for trial in trials]).per_trial
    return np.asarray(scores[np.isfinite(scores)], np.float64)


def vividness(visit: RecordedVisit) -> dict[str, Any]:
    """Whether what was rated more vivid was decoded better: Spearman's correlation over imagined trials."""
    imagined = [trial for trial in visit.trials if trial.task == "imagine"]
    decoded, targets = _rows(visit, imagined)
    scores = identification_accuracy(decoded, targets, [trial.clip_id for trial in imagined]).per_trial
    rated = np.array([trial.vividness for trial in imagined])
    both = np.isfinite(scores) & np.isfinite(rated)
    if both.sum() < 4 or len(set(rated[both])) < 2:
        return {"trials": int(both.sum()), "spearman": None, "p_value": None}
    found = stats.spearmanr(scores[both], rated[both])
    return {"trials": int(both.sum()), "spearman": float(found.statistic), "p_value": float(found.pvalue)}


def group_figures(visits: Sequence[Mapping[str, Any]], table: Path) -> dict[str, Any]:
    """Imagery identification of two groups of people compared, a person's visits averaged.

    Parameters
    ----------
    visits : sequence of dict
        Of `visit_figures`.
    table : Path
        TSV with columns subject and group.

    Raises
    ------
    DatasetError
        The table cannot be read, lacks a subject, or does not name two groups with two people each.
    """
    group_of = read_groups(table)
    people: dict[str, list[float]] = {}
    for visit in visits:
        if visit["subject"] not in group_of:
            raise DatasetError(f"groups {table} lack subject {visit['subject']!r}; add them, or leave out the visit")
        if visit["imagine"]["identification"] is not None:
            people.setdefault(visit["subject"], []).append(visit["imagine"]["identification"])
    values: dict[str, list[float]] = {}
    for subject, scores in people.items():
        values.setdefault(group_of[subject], []).append(float(np.mean(scores)))
    return compare_groups(values)


def compare_groups(figures: Mapping[str, Sequence[float]], seed: int = 0) -> dict[str, Any]:
    """Two groups of people, such as musicians and others, by one value for each person.

    Parameters
    ----------
    figures : mapping of str to sequence of float
        Two groups with two people or more each; the first less the second is compared.

    Raises
    ------
    DatasetError
        Other than two groups, or too few people.
    """
    if len(figures) != 2 or min(map(len, figures.values())) < 2:
        raise DatasetError(f"groups {({name: len(each) for name, each in figures.items()})} cannot be compared; wanted "
                           "two with two people or more each")
    (one, first), (other, second) = figures.items()
    return difference_of_means(np.asarray(first, np.float64), np.asarray(second, np.float64), (one, other), seed)
