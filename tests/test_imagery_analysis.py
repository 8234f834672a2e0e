"""What a visit says of imagination, on visits whose truth is planted."""

import json
from pathlib import Path

import numpy as np
import pytest

from offline_training.errors import DatasetError
from offline_training.imagery import compare_groups, group_figures, read_visit, visit_figures
from offline_training.sound_regressor import sound_response, without_sound
from realtime.experiment.acquisition import Acquisition
from realtime.experiment.design import DesignSettings, generate
from realtime.experiment.run_design import RunDesign, write_run_design
from realtime.session.folder import SessionFolder
from realtime.session.record import encode_vector, to_line
from tests import builders

CLIPS = tuple(f"clip{n:02}" for n in range(builders.N_CLIPS))
RUNS = (("listen", "listen", ("listen", "rest")), ("before", "imagine", ("cue", "imagine", "rate", "rest")),
        ("train-1", "feedback", ("cue", "imagine", "feedback", "rest")),
        ("train-2", "feedback", ("cue", "imagine", "feedback", "rest")),
        ("after", "transfer", ("cue", "imagine", "rate", "rest")))


def make_visit(folder: Path, strength: dict[str, float], seed: int = 0) -> Path:
    """A visit in which each run's evidence is so much of the clip's embedding, and noise."""
    rng = np.random.default_rng(seed)
    builders.write_corpus(folder / "corpus", seconds=0.1)
    rows = np.load(folder / "corpus" / "embeddings.npy")
    rows = rows - rows.mean(axis=0)
    diary = [{"what": "plan", "subject": "sub-00", "runs": [[name, kind, 500, 0, {}] for name, kind, _ in RUNS]}]
    for place, (name, _kind, trial) in enumerate(RUNS):
        catch = 0.2 if "imagine" in trial else 0.0
        acquisition = Acquisition(1.5)
        phases = generate(DesignSettings(CLIPS, trial, 3, catch_share=catch), acquisition, place)  # type: ignore[arg-type]
        design = RunDesign(name, phases, acquisition)
        run = SessionFolder(folder / f"{place + 1:02}-{name}")
        run.path.mkdir()
        (folder / "corpus").rename(run.catalogue) if place == 0 else None
        write_run_design(run.design, design)
        documents: list[dict[str, object]] = [{"doc": "start"}]
        for number, phase in enumerate(design.measured):
            gain = 0.0 if phase.kind == "catch" else strength[name]
            vector = gain * rows[CLIPS.index(phase.clip_id)] + rng.standard_normal(builders.DIM)
            documents.append({"doc": "step", "trial": number, "embedding": encode_vector(vector.astype(np.float32)),
                              "score": gain + 0.3 * rng.standard_normal()})
            rating = next((each for each in phases if each.kind == "rate" and each.trial == phase.trial), None)
            if rating is not None:
                documents.append({"doc": "event", "name": "rate", "value": float(rng.integers(1, 6)),
                                  "before_volume": rating.first_volume})
        run.record.write_bytes(b"".join(to_line(document) for document in documents))
        diary.append({"what": "ended", "status": "complete", "run": run.path.name})
    (folder / "diary.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in diary))
    return folder


def test_planted_imagery_is_found_and_catch_trials_are_at_chance(tmp_path: Path) -> None:
    figures = visit_figures(read_visit(make_visit(
        tmp_path, {"listen": 2.0, "before": 1.0, "train-1": 1.0, "train-2": 1.6, "after": 1.6})))
    assert figures["listen"]["identification"] > figures["imagine"]["identification"] > figures["imagine"]["chance_p99"]
    assert figures["imagine_minus_listen"] < 0
    assert figures["catch"]["identification"] <= figures["catch"]["chance_p99"]
    assert figures["learning"]["slope_per_run"] == pytest.approx(0.6, abs=0.35)
    assert figures["learning"]["p_value"] < 0.01
    assert figures["transfer"]["difference"] > 0
    assert figures["vividness"]["trials"] > 30


def test_where_nothing_is_imagined_nothing_is_found(tmp_path: Path) -> None:
    figures = visit_figures(read_visit(make_visit(
        tmp_path, {"listen": 2.0, "before": 0.0, "train-1": 0.0, "train-2": 0.0, "after": 0.0})))
    assert figures["imagine"]["identification"] <= figures["imagine"]["chance_p99"]
    assert figures["learning"]["p_value"] > 0.01
    assert figures["transfer"]["p_value"] > 0.01


def test_groups_are_compared_by_people() -> None:
    apart = compare_groups({"musicians": [0.72, 0.75, 0.70, 0.74, 0.73], "others": [0.60, 0.62, 0.58, 0.63, 0.61]})
    assert apart["difference"] == pytest.approx(0.12)
    assert apart["p_value"] < 0.02
    assert apart["low"] > 0
    alike = compare_groups({"musicians": [0.6, 0.7, 0.5, 0.65], "others": [0.61, 0.69, 0.52, 0.63]})
    assert alike["p_value"] > 0.5
    with pytest.raises(DatasetError, match="two with two people or more"):
        compare_groups({"musicians": [0.6], "others": [0.5, 0.4]})


def test_a_table_puts_people_into_groups(tmp_path: Path) -> None:
    table = tmp_path / "groups.tsv"
    table.write_text("subject\tgroup\n" + "".join(f"s{n}\t{'musicians' if n < 3 else 'others'}\n" for n in range(6)))
    visits = [{"subject": f"s{n}", "imagine": {"identification": 0.7 if n < 3 else 0.6}} for n in range(6)]
    found = group_figures([*visits, visits[0]], table)  # two visits are one person
    assert (found["n_musicians"], found["n_others"]) == (3, 3)
    assert found["difference"] == pytest.approx(0.1)
    with pytest.raises(DatasetError, match="lack subject 's9'"):
        group_figures([{**visits[0], "subject": "s9"}], table)


def test_a_folder_without_a_visit_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no visit in"):
        read_visit(tmp_path)


def test_sound_answers_late_by_its_level_and_silence_does_not() -> None:
    acquisition = Acquisition(1.0)
    steps = [{"playing": "clip01" if 10 <= volume < 50 else "", "level_db": -20.0} for volume in range(90)]
    response = sound_response(steps, acquisition)
    assert np.all(response[:11] == 0.0)  # what plays by volume 10's decision sounds from its end on
    assert response[45] == pytest.approx(0.1, abs=0.01)
    assert response[13] < 0.5 * response[45] < response[18]
    assert abs(response[85]) < 0.01
    louder = sound_response([{**step, "level_db": 0.0} for step in steps], acquisition)
    np.testing.assert_allclose(louder, 10 * response)


def test_what_goes_with_the_sound_is_taken_out_of_the_evidence_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    sound, own = rng.uniform(0, 1, 200), rng.standard_normal((200, 6))
    own -= np.c_[np.ones(200), sound] @ np.linalg.lstsq(np.c_[np.ones(200), sound], own, rcond=None)[0]
    along = rng.standard_normal(6)
    cleaned = without_sound(own + sound[:, None] * along, sound)
    assert cleaned is not None
    np.testing.assert_allclose(cleaned, own + sound.mean() * along, atol=1e-9)
    missing = own.copy()
    missing[7] = np.nan
    cleaned = without_sound(missing, sound)
    assert cleaned is not None
    assert np.isnan(cleaned[7]).all()
    assert np.isfinite(np.delete(cleaned, 7, axis=0)).all()
    assert without_sound(own, np.full(200, 0.3)) is None
