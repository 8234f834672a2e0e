"""Many people's evaluations as one: every measure over people, against controls, and two groups compared."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_training.errors import DatasetError
from offline_training.scores.people import difference_of_means, over_people

FORMAT = "innerear group 1"
CARDS = {"single_trials": "single trials", "clips_averaged": "hearings averaged"}
MEASURES = {"identification": "identification accuracy", "within_genre": "identification within genre",
            "top1": "top-1", "top3": "top-3", "way10": "best of 10", "genre_top1": "genre of the best clip",
            "median_rank": "median rank"}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A figure of one person, NaN where there is none, and what guessing gives."""

    value: float
    chance: float


def group_figures(evaluations: Sequence[Mapping[str, Any]], group_of: Mapping[str, str] | None = None,
                  seed: int = 0) -> dict[str, Any]:
    """Figures over people, for JSON.

    Parameters
    ----------
    evaluations : sequence of dict
        Of `innerear evaluate`; a person's visits are averaged.
    group_of : mapping of str to str, optional
        Group of each subject, two of them; the first named less the second is compared.
    seed : int

    Returns
    -------
    figures : dict
        `measures` holds a `Sample` for each measure of single trials and of hearings averaged; `controls` one of the
        paired difference, decoder less control, of identification with hearings averaged; `groups`, where they are
        given, the difference of both groups in every measure.

    Raises
    ------
    DatasetError
        Fewer than two people, different embedding spaces, or groups that cannot be compared.
    """
    subjects = list(dict.fromkeys(_subject(one) for one in evaluations))
    if len(subjects) < 2:
        raise DatasetError(f"{len(evaluations)} evaluations are of {len(subjects)} people ({', '.join(subjects)}): "
                           "nothing can be said of people in general; give those of at least two")
    spaces = sorted({f"{one['about']['space']['name']} {one['about']['space']['sha256'][:8]}" for one in evaluations})
    if len(spaces) > 1:
        raise DatasetError(f"these evaluations are in {len(spaces)} embedding spaces ({', '.join(spaces)}): their "
                           "figures cannot be averaged; give those of one space")
    scores = {subject: _person([one for one in evaluations if _subject(one) == subject]) for subject in subjects}
    names = list(dict.fromkeys(name for person in scores.values() for name in person))
    found = {name: over_people(*_columns(scores, name), seed).figures() for name in names}
    figures: dict[str, Any] = {
        "format": FORMAT, "subjects": subjects, "space": evaluations[0]["about"]["space"], "seed": seed,
        "n_evaluations": len(evaluations),
        "measures": {name: one for name, one in found.items() if not name.startswith("control.") and one["n"]},
        "controls": {name.removeprefix("control."): one for name, one in found.items()
                     if name.startswith("control.") and one["n"]}}
    if group_of is not None:
        figures["groups"] = _groups(scores, list(figures["measures"]), group_of, seed)
    return figures


def read_groups(table: Path) -> dict[str, str]:
    """Group of each subject, from a TSV with columns subject and group.

    Raises
    ------
    DatasetError
        It cannot be read.
    """
    try:
        with table.open(encoding="utf-8", newline="") as file:
            return {row["subject"]: row["group"] for row in csv.DictReader(file, delimiter="\t")}
    except (OSError, KeyError, UnicodeDecodeError) as exc:
        raise DatasetError(f"groups {table} cannot be read ({exc}); give a TSV with columns subject and group") from exc


def _subject(evaluation: Mapping[str, Any]) -> str:
    about = evaluation["about"]
    return str(about["subject"] or about["bundle"])


def _person(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Score]:
    """Every figure of one person by name, the mean over their evaluations."""
    found: dict[str, list[Score]] = {}
    for one in evaluations:
        for name, score in _scores(one):
            found.setdefault(name, []).append(score)
    return {name: Score(float(np.mean([one.value for one in scores])), float(np.mean([one.chance for one in scores])))
            for name, scores in found.items()}


def _scores(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, Score]]:
    for card in CARDS:
        for measure in MEASURES:
            estimate = evaluation[card].get(measure)
            if estimate and estimate["value"] is not None:
                yield f"{card}.{measure}", Score(estimate["value"], estimate["chance"])
    decoder = evaluation["clips_averaged"]["identification"]["value"]
    for control, card in (evaluation.get("controls") or {}).items():
        reached = card["identification"]["value"]
        if decoder is not None and reached is not None:
            yield f"control.{control}", Score(decoder - reached, 0.0)


def _columns(scores: Mapping[str, Mapping[str, Score]], name: str) -> tuple[list[float], list[float]]:
    nothing = Score(float("nan"), float("nan"))
    found = [person.get(name, nothing) for person in scores.values()]
    return [one.value for one in found], [one.chance for one in found]


def _groups(scores: Mapping[str, Mapping[str, Score]], names: Sequence[str], group_of: Mapping[str, str],
            seed: int) -> dict[str, Any]:
    missing = [subject for subject in scores if subject not in group_of]
    if missing:
        raise DatasetError(f"the groups lack subject {missing[0]!r}; add them, or leave out their evaluation")
    groups = list(dict.fromkeys(group_of[subject] for subject in group_of if subject in scores))
    members = {group: [subject for subject in scores if group_of[subject] == group] for group in groups}
    if len(groups) != 2 or min(map(len, members.values())) < 2:
        raise DatasetError(f"groups {({group: len(each) for group, each in members.items()})} cannot be compared; "
                           "wanted two with two people or more each")
    one, other = groups
    return {"first": one, "second": other, "members": members,
            "differences": {name: difference_of_means(_values(scores, members[one], name),
                                                      _values(scores, members[other], name), (one, other), seed)
                            for name in names}}


def _values(scores: Mapping[str, Mapping[str, Score]], subjects: Sequence[str], name: str) -> Floats:
    return np.array([scores[subject][name].value for subject in subjects if name in scores[subject]], np.float64)
