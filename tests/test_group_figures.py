"""Many people's evaluations as one: statistics against naive twins, noise against the rate it promises, the page."""

import json
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.errors import DatasetError
from offline_training.group_figures import group_figures, read_groups
from offline_training.scores.people import difference_of_means, hedges_g, over_people, sign_flip_p


def estimate(value: float | None, chance: float = 0.5) -> dict[str, Any]:
    return {"value": value, "chance": chance, "low": None, "high": None}


def evaluation(subject: str, identification: float, control: float = 0.55, space: str = "a") -> dict[str, Any]:
    """What of `innerear evaluate` a group needs, one measure missing as with few clips."""
    card = {"identification": estimate(identification), "within_genre": estimate(identification - 0.2),
            "top1": estimate(0.1, 0.02), "top3": estimate(0.2, 0.05), "way10": estimate(None, 0.1),
            "genre_top1": estimate(0.3, 0.1), "median_rank": estimate(8.0, 30.5)}
    return {"format": "innerear evaluation 1", "verdict": "", "single_trials": card, "clips_averaged": card,
            "controls": {"genre only": {"identification": estimate(control)}},
            "about": {"subject": subject, "bundle": "b", "space": {"name": "log-mel", "dim": 4, "sha256": space * 64}}}


def test_sign_flips_are_all_patterns_of_signs() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1.0, 7)
    drawn = [abs(np.mean(np.array(signs) * differences)) for signs in product((1, -1), repeat=7)]
    assert sign_flip_p(differences) == pytest.approx(np.mean(np.array(drawn) >= abs(differences.mean()) - 1e-12))
    assert sign_flip_p(np.full(5, 0.1)) == 2 / 2**5
    assert np.isnan(sign_flip_p(np.array([0.3])))


def test_of_people_without_an_effect_a_twentieth_is_below_a_twentieth() -> None:
    rng = np.random.default_rng(1)
    for n in (8, 14):  # exact, and drawn
        p = np.array([sign_flip_p(rng.normal(size=n)) for _ in range(300)])
        assert 0.012 < (p <= 0.05).mean() < 0.09  # SD .0126


def test_two_groups_are_compared_by_every_exchange_of_people() -> None:
    first, second = np.array([0.72, 0.75, 0.71]), np.array([0.60, 0.74, 0.58])
    found = difference_of_means(first, second, ("musicians", "others"), 0)
    everyone = np.concatenate([first, second])
    drawn = [everyone[list(order[:3])].mean() - everyone[list(order[3:])].mean() for order in permutations(range(6))]
    reached = np.mean(np.array(drawn) >= found["difference"] - 1e-12)
    assert found["p_value"] == pytest.approx(min(1.0, 2 * reached))
    assert (found["n_musicians"], found["n_others"]) == (3, 3)
    assert found["low"] < found["difference"] < found["high"]
    pooled = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    assert hedges_g(first, second) == pytest.approx((first.mean() - second.mean()) / pooled * (1 - 3 / 15))
    assert hedges_g(np.ones(3), np.ones(3)) is None


def test_a_sample_has_mean_interval_and_effect_and_who_has_no_figure_is_left_out() -> None:
    sample = over_people([0.6, 0.7, float("nan"), 0.8], [0.5, 0.5, 0.5, 0.5])
    assert (sample.value, sample.n, sample.chance) == (pytest.approx(0.7), 3, 0.5)
    assert sample.sd == pytest.approx(0.1)
    assert sample.cohens_d == pytest.approx(2.0)
    assert 0.59 < sample.low < 0.7 < sample.high < 0.81
    assert sample.figures()["people"] == [0.6, 0.7, None, 0.8]
    nobody = over_people([float("nan")], [0.5]).figures()
    assert (nobody["n"], nobody["value"], nobody["p_value"]) == (0, None, None)


def test_visits_of_a_person_are_averaged_and_controls_are_paired() -> None:
    found = group_figures([evaluation("s1", 0.7), evaluation("s1", 0.8), evaluation("s2", 0.65, control=0.7)])
    one = found["measures"]["single_trials.identification"]
    assert (one["n"], one["value"], found["n_evaluations"]) == (2, pytest.approx(0.7), 3)
    assert "single_trials.way10" not in found["measures"]
    assert found["controls"]["genre only"]["people"] == [pytest.approx(0.2), pytest.approx(-0.05)]
    assert found["measures"]["single_trials.median_rank"]["chance"] == 30.5
    assert "groups" not in found


def test_what_cannot_be_taken_together_is_refused_in_a_sentence() -> None:
    two = [evaluation("s1", 0.7), evaluation("s2", 0.6)]
    with pytest.raises(DatasetError, match=r"are of 1 people \(s1\)"):
        group_figures(two[:1])
    with pytest.raises(DatasetError, match="in 2 embedding spaces"):
        group_figures([two[0], evaluation("s2", 0.6, space="b")])
    with pytest.raises(DatasetError, match="the groups lack subject 's2'"):
        group_figures(two, {"s1": "musicians"})
    with pytest.raises(DatasetError, match=r"\{'musicians': 1, 'others': 1\} cannot be compared"):
        group_figures(two, {"s1": "musicians", "s2": "others"})


def test_the_command_writes_figures_and_a_page_and_the_page_is_made_again(tmp_path: Path) -> None:
    rng, files, rows = np.random.default_rng(0), [], ["subject\tgroup"]
    for k in range(10):
        musician = k % 2 == 0
        path = tmp_path / f"s{k}.json"
        path.write_text(json.dumps(evaluation(f"s{k}", (0.85 if musician else 0.7) + 0.02 * rng.normal())))
        files.append(str(path))
        rows.append(f"s{k}\t{'musicians' if musician else 'others'}")
    (tmp_path / "groups.tsv").write_text("\n".join(rows) + "\n")
    out, page = tmp_path / "group.json", tmp_path / "group.html"
    done = CliRunner().invoke(app, ["group", *files, "--groups", str(tmp_path / "groups.tsv"), "--json", str(out),
                                    "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "over 10 people: mean 0.7" in done.output
    said = json.loads(out.read_text())
    difference = said["groups"]["differences"]["single_trials.identification"]
    assert said["groups"]["first"] == "musicians"
    assert difference["p_value"] < 0.02
    assert difference["hedges_g"] > 2
    assert said["measures"]["single_trials.identification"]["p_value"] == pytest.approx(2 / 2**10)
    text = page.read_text()
    assert all(heading in text for heading in ("Over people", "Beyond the controls", "musicians against others"))
    again = CliRunner().invoke(app, ["report", str(out), "--out", str(tmp_path / "again.html")])
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again.html").read_text() == text
    with pytest.raises(DatasetError, match="cannot be read"):
        read_groups(tmp_path / "none.tsv")
