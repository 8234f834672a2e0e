"""From a data set to the figures and the page, through the command; the page is made of the figures alone."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.corpus import Corpus, CorpusClip, write_entries
from offline_training.embedders import open_embedder, open_scorer
from offline_training.evaluation.scorecard import Draws, Judged
from offline_training.evaluation_page.page import SECTIONS
from offline_training.remade_music import Remaking, makers_in, remade_music
from offline_training.runs import read_dataset, read_volumes
from offline_training.train import train
from realtime.bundle import read_bundle
from realtime.decoding.onnx_decoder import OnnxDecoder
from realtime.generators.director import Director
from realtime.generators.score_generator import ScoreGenerator
from realtime.generators.themes import Themes, theme_of
from realtime.music.catalogue import read_catalogue
from realtime.music.synth_score import compose
from realtime.session.core import LiveCore
from realtime.session.parts import Parts
from realtime.session.record import to_line
from scanner_bridge.volume import RunHeader
from tests.test_training_pipeline import DIM, GENRES, SETTINGS, catalogue, write_run

RATE_HZ, HEARD_S = 22050, 2.5


def write_stimuli(folder):
    """The planted catalogue with something to hear: a tone per clip, and words in its labels."""
    known, rng = catalogue(), np.random.default_rng(0)
    (folder / "clips").mkdir(parents=True)
    entries = []
    for i, clip in enumerate(known.clips):
        t = np.arange(int(HEARD_S * RATE_HZ)) / RATE_HZ
        sound = 0.2 * np.sin(2 * np.pi * (150 + 90 * i) * t) + 0.02 * rng.normal(size=len(t))
        soundfile.write(folder / "clips" / f"{clip.clip_id}.wav", sound, RATE_HZ)
        labels = {"caption": f"calm {clip.genre} music"}
        entries.append(CorpusClip(clip.clip_id, f"clips/{clip.clip_id}.wav", clip.genre, "training", HEARD_S, 100.0,
                                  0.0, 0.0, "", labels))
    embeddings = np.stack([known.embedding(clip.clip_id) for clip in known.clips])
    np.save(folder / "embeddings.npy", embeddings)
    write_entries(Corpus(folder, HEARD_S, tuple(entries), known.space, embeddings))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three training runs, two test runs whose clips are heard twice, a bundle, and everything evaluated."""
    folder = tmp_path_factory.mktemp("evaluation")
    data = folder / "data"
    for run in range(3):
        write_run(data, f"task-Training_run-{run + 1:02d}", list(range(12 * run, 12 * run + 12)), seed=run)
    for run, rows in enumerate(([36, 37, 38, 39], [40, 41, 42, 43])):
        write_run(data, f"task-Test_run-{run + 1:02d}", rows * 2, seed=10 + run)
    write_stimuli(data / "stimuli")
    with ThreadPoolExecutor(1) as executor:
        trained = train(read_dataset(data), read_catalogue(data / "stimuli"), folder / "bundle", executor, SETTINGS)
    done = CliRunner().invoke(app, [
        "evaluate", str(folder / "bundle"), str(data), "--json", str(folder / "figures.json"), "--html",
        str(folder / "page.html"), "--whole", "--maps", str(folder / "maps"), "--permutations", "1000",
        "--workers", "1"])
    assert done.exit_code == 0, done.output
    return folder, json.loads((folder / "figures.json").read_text()), trained


def test_the_figures_hold_the_training_evaluation_and_every_part(world):
    _, figures, trained = world
    for key, value in trained.evaluation.figures().items():
        assert figures[key] == pytest.approx(value), key
    assert {"single_trials", "clips_averaged", "time_course", "repeats", "sureness", "controls", "leakage", "targets",
            "leave_one_genre_out", "encoding"} <= set(figures)
    single = figures["single_trials"]["identification"]
    assert single["value"] == pytest.approx(figures["identification_accuracy"])
    assert (single["n_trials"], single["n_clips"], single["null"]["n_permutations"]) == (16, 8, 1000)
    assert figures["clips_averaged"]["identification"]["value"] == pytest.approx(figures["repeats_averaged"])
    assert [one["value"] for one in figures["time_course"]["cumulative"]] == pytest.approx(
        list(figures["identification_by_volumes"]))


def test_what_was_planted_is_found_and_controls_find_nothing(world):
    _, figures, _ = world
    assert figures["clips_averaged"]["identification"]["value"] > 0.8
    assert len(figures["time_course"]["single_volume"]) == 9
    assert {"mean vector", "random vector", "genre only", "previous clip", "time only", "motion only"} == set(
        figures["controls"])
    assert figures["controls"]["mean vector"]["identification"]["value"] == pytest.approx(0.5)
    assert figures["leakage"]["holds"]
    kinds = list(figures["targets"])
    assert [kind.split()[0] for kind in kinds] == ["high-level", "low-level", "text", "one-hot"]
    assert figures["targets"][kinds[0]]["id_test"]["value"] > 0.8
    assert figures["targets"][kinds[0]]["dim"] == DIM
    assert figures["leave_one_genre_out"]["left_out"] == sorted(GENRES)
    assert figures["encoding"][kinds[0]]["r_max"] > 0.5


def test_what_was_decoded_and_what_is_retrieved_are_judged_apart_by_an_embedder_that_chose_nothing(world):
    _, figures, _ = world
    music = figures["music"]
    assert (music["scorer"], music["n_trials"], music["n_there"]) == ("scorer-64", 16, 16)
    assert set(music["sources"]) == {"decoded", "retrieved"}  # no generator takes this space's conditions
    decoded, retrieved = music["sources"]["decoded"], music["sources"]["retrieved"]
    assert decoded["identification"]["value"] == pytest.approx(figures["identification_accuracy"])
    assert "genre" not in decoded  # nor has it read-outs
    assert {"genre", "lead", "mood"} <= set(retrieved)
    assert retrieved["space"] == "scorer-64"
    for card in (decoded, retrieved):
        assert card["identification"]["null"]["n_permutations"] == 1000
        assert card["kernel_distance"]["n_reference"] == 8


def test_generated_music_is_judged_beside_what_is_retrieved_and_only_where_a_generator_takes_the_space(world):
    folder, _, _ = world
    music, bundle = read_catalogue(folder / "data" / "stimuli"), read_bundle(folder / "bundle")
    pieces = [theme_of(compose(genre, 5, 4.0, 0.5).band) for genre in ("pop", "metal", "jazz")]
    library = Themes(music.space, pieces, np.stack([music.embedding(clip.clip_id) for clip in music.clips[:3]]))
    how = Remaking(open_scorer("scorer-64"), None, {"director": lambda seed: ScoreGenerator(Director(library, seed),
                                                                                            48000)}, 3)
    clips = music.clips[:5]
    own = np.stack([music.embedding(clip.clip_id) for clip in clips]).astype(np.float64)  # decoded without an error
    judged = Judged(own, own, tuple(clip.clip_id for clip in clips), tuple(clip.genre for clip in clips), ("r",) * 5)
    draws = Draws(1000, 1000)
    found = remade_music(judged, np.array([9, 9, 0, 9, 9]), bundle.reliability, music, how, draws)
    assert (found["n_trials"], found["n_there"]) == (3, 4)  # one trial had no volumes
    assert list(found["sources"]) == ["decoded", "retrieved", "director"]
    assert found["sources"]["retrieved"]["identification"]["value"] > 0.5
    assert found["sources"]["director"]["space"] == "scorer-64"
    assert found["sources"]["director"]["identification"]["n_trials"] == 3
    assert found == remade_music(judged, np.array([9, 9, 0, 9, 9]), bundle.reliability, music, how, draws)
    assert makers_in(music.space) == {}
    assert set(makers_in(open_embedder("synth-128").space)) == {"director", "model"}


def test_maps_are_written_beside_the_figures(world):
    folder, figures, _ = world
    for one in figures["encoding"].values():
        assert all((folder / "maps" / name).is_file() for name in one["maps"])


def test_the_page_is_whole_and_reaches_out_to_nothing(world):
    folder, figures, _ = world
    page = (folder / "page.html").read_text()
    for heading in ("Was the music decoded?", "What controls reach", "Which genres?", "Over the trial", "With repeats",
                    "As sure as it is right?", "Is it the music that was heard?", "Other targets", "A genre left out",
                    "Encoding models", "Leakage"):
        assert f"<h2>{heading}</h2>" in page
    assert figures["verdict"] in page.replace("&#39;", "'")
    assert "Nothing was generated: no generator that is shipped takes conditions of this space." in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "None" not in re.sub(r"data:image[^\"]*", "", page)


def test_report_makes_the_same_page_of_the_figures_alone(world, tmp_path):
    folder, _, _ = world
    again = tmp_path / "again.html"
    done = CliRunner().invoke(app, ["report", str(folder / "figures.json"), "--out", str(again)])
    assert done.exit_code == 0, done.output
    assert again.read_bytes() == (folder / "page.html").read_bytes()


def test_a_page_of_few_figures_leaves_sections_out(world, tmp_path):
    _, figures, _ = world
    for key in ("targets", "leave_one_genre_out", "encoding", "controls", "leakage", "classes", "sureness"):
        figures = {name: part for name, part in figures.items() if name != key}
    (tmp_path / "few.json").write_text(json.dumps(figures))
    done = CliRunner().invoke(app, ["report", str(tmp_path / "few.json")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "few.html").read_text()
    assert "<h2>Encoding models</h2>" not in page
    assert "nothing could be checked" in page
    assert len(SECTIONS) >= 12


@pytest.mark.parametrize("content", ["no json", "[]", '{"format": "something else"}'])
def test_what_is_no_evaluation_is_refused_in_one_sentence(content, tmp_path):
    (tmp_path / "wrong.json").write_text(content)
    done = CliRunner().invoke(app, ["report", str(tmp_path / "wrong.json")])
    assert done.exit_code != 0
    assert "innerear evaluate BUNDLE DATASET --json FILE" in " ".join(done.output.split())


def write_live_record(folder, bundle, run, music):
    """What the live core says of a run, volume by volume, as a session's record."""
    header = RunHeader(run.run_id, run.shape, "<i2", run.affine, run.tr_s, run.n_volumes)
    core = LiveCore(header, Parts(bundle, OnnxDecoder(bundle), music, run.events, "events.tsv"))
    trials = [{"trial": t, "clip_id": event.clip_id, "is_dummy": event.is_dummy} for t, event in enumerate(run.events)]
    documents = [{"doc": "start", "run": {"run_id": "replay-1"}, "trials": trials, "bundle": {"sha256": ""}}]
    for volume in read_volumes(run):
        documents += [core.decide(percept).document for percept in core.perceive(volume).percepts]
    (folder / "record.jsonl").write_bytes(b"".join(map(to_line, documents)))


def test_offline_figures_are_those_of_the_live_core_bit_by_bit(world, tmp_path):
    folder, _, _ = world
    run, music = read_dataset(folder / "data").test[0], read_catalogue(folder / "data" / "stimuli")
    write_live_record(tmp_path, read_bundle(folder / "bundle"), run, music)
    done = CliRunner().invoke(app, ["evaluate", str(folder / "bundle"), str(folder / "data"), "--session",
                                    str(tmp_path), "--json", str(tmp_path / "f.json"), "--html",
                                    str(tmp_path / "f.html"), "--permutations", "1000", "--workers", "1", "--music",
                                    "5"])
    assert done.exit_code == 0, done.output
    assert "differ by at most 0.0e+00 in 45 decoded vectors" in " ".join(done.output.split())
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["music"]["n_trials"], figures["music"]["n_there"]) == (5, 16)
    assert "5 of 16 trials, drawn by lot" in (tmp_path / "f.html").read_text()
    live = figures["live"]
    assert live["largest_difference"] == 0.0
    assert live["n_vectors"] == 8 * 6 - 3  # the last clip lacks what comes after the run
    assert (live["n_only_live"], live["n_only_offline"]) == (0, 0)
    assert live["live_minus_offline"]["value"] == 0.0
    assert "<h2>Live against offline</h2>" in (tmp_path / "f.html").read_text()


def test_a_session_of_another_run_is_refused(world, tmp_path):
    folder, _, _ = world
    (tmp_path / "record.jsonl").write_text('{"doc":"start","run":{"run_id":"other"},"bundle":{}}\n')
    done = CliRunner().invoke(app, ["evaluate", str(folder / "bundle"), str(folder / "data"), "--session",
                                    str(tmp_path), "--json", str(tmp_path / "f.json"), "--workers", "1"])
    assert done.exit_code != 0
    assert "heard 0 clips in an order that 0 of 2 runs evaluated have" in " ".join(done.output.split())
    assert not (tmp_path / "f.json").exists()
