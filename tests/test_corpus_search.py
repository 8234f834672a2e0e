"""Finding music in a corpus, and keeping a selection still at rest."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.corpus_calibration import Rest, calibrate, false_switches
from offline_training.corpus_composed import CorpusSettings, make_corpus
from offline_training.corpus_search import by_words, like_recording
from offline_training.errors import DatasetError
from realtime.bundle import write_bundle
from realtime.decoding.posterior import believe
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.music.selection import SelectionSettings
from realtime.reliability import Reliability
from realtime.session.folder import SessionFolder
from realtime.session.record import encode_vector
from tests.builders import alike
from tests.builders import bundle as small_bundle
from tests.qdrant_room import qdrant_server

SPACE = EmbeddingSpace("words", 3, "")


class Colours:
    """A space of three directions, each with its word."""

    space = SPACE

    def embed(self, audio: np.ndarray, rate_hz: int) -> np.ndarray:
        return np.array([audio.mean(), 1.0, 0.0], np.float32)

    def embed_text(self, text: str) -> np.ndarray:
        return np.array([word in text for word in ("red", "green", "blue")], np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory):
    settings = CorpusSettings(2, 0, duration_s=4.0, rate_hz=22050)
    return make_corpus(tmp_path_factory.mktemp("corpus"), settings, dim=8)


def invoke(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["corpus", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def test_words_find_what_they_describe() -> None:
    clips = [Clip(name, Path("x")) for name in ("red", "green", "blue")]
    index = Catalogue(SPACE, clips, np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    assert [match.clip.clip_id for match in by_words(index, Colours(), "calm blue piano", 1)] == ["blue"]


@pytest.mark.parametrize("place", ["exact", "faiss"])
def test_a_clip_of_the_corpus_sounds_most_like_itself(corpus, place, tmp_path) -> None:
    clip = corpus.clips[7]
    file = tmp_path / "figures.json"
    audio, rate_hz = soundfile.read(corpus.folder / clip.file)
    soundfile.write(tmp_path / "heard.wav", audio[: 4 * rate_hz], rate_hz)
    shown = invoke("search", corpus.folder, "--like", tmp_path / "heard.wav", "-n", 3, "--index", place, "--json", file)
    found = json.loads(file.read_text())["found"]
    assert [len(found), found[0]["clip_id"], found[0]["genre"]] == [3, clip.clip_id, clip.genre]
    assert found[0]["similarity"] > 0.9
    assert shown.splitlines()[0].split()[1] == clip.clip_id


def test_a_corpus_brought_to_a_server_is_searched_there(corpus) -> None:
    recording = corpus.folder / corpus.clips[3].file
    with qdrant_server() as url:
        invoke("search", corpus.folder, "--like", recording, "--index", url, code=1)
        assert "20 clips are in collection innerear-" in invoke("upload", corpus.folder, url)
        there = invoke("search", corpus.folder, "--like", recording, "--index", url)
    assert there == invoke("search", corpus.folder, "--like", recording)


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("calm piano",), "knows sounds, not words"),
    ((), "give one of them"),
    (("words", "--like", "x.wav"), "give one of them"),
    (("--like", "nowhere.wav"), "it has vanished"),
])
def test_a_search_that_cannot_be_done_is_one_sentence(corpus, arguments, sentence, capsys) -> None:
    done = CliRunner().invoke(app, ["corpus", "search", str(corpus.folder), *arguments])
    assert done.exit_code == 1
    assert sentence in done.output


def test_an_embedder_of_another_space_is_refused(corpus, tmp_path) -> None:
    other = make_corpus(tmp_path, CorpusSettings(1, 0, duration_s=2.0, rate_hz=22050, seed=5), dim=4)
    done = CliRunner().invoke(app, ["corpus", "search", str(corpus.folder), "--like", str(corpus.folder / "x.wav"),
                                    "--embedder", str(other.folder / "embedder.npz")])
    assert "is not of that space" in done.output


def test_silence_sounds_like_nothing(corpus, tmp_path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(200000), 48000)
    catalogue = read_catalogue(corpus.folder)
    with pytest.raises(DatasetError, match=r"silence\.wav: it is silent; give a recording of music"):
        like_recording(catalogue, Colours(), tmp_path / "silence.wav", 1)


def rest_of(n: int, index: Catalogue, memory: float = 0.6, seed: int = 1) -> np.ndarray:
    """Decoded vectors that are error and nothing else."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((n, index.space.dim))
    for k in range(1, n):
        rows[k] = memory * rows[k - 1] + rng.standard_normal(index.space.dim)
    return (index.centre + rows).astype(np.float32)


def rest_from(rows: np.ndarray, index: Catalogue) -> Rest:
    """As a session would have judged it, ten volumes a trial."""
    maps = alike(index.space.dim, tuple((4.0 + n) / index.space.dim for n in range(10)))
    known = Reliability(index.centre, *maps)
    beliefs = tuple(believe(index, row, known, k % 10 + 1) for k, row in enumerate(rows))
    return Rest(beliefs, tuple(range(len(rows))), 1.5)


def random_index(n_clips: int = 60, dim: int = 24) -> Catalogue:
    rows = np.random.default_rng(4).standard_normal((n_clips, dim)).astype(np.float32) + 1.0
    return Catalogue(EmbeddingSpace("random", dim, ""),
                     [Clip(f"{n:02}", Path("x"), genre=f"g{n % 6}") for n in range(n_clips)], rows, rows.mean(axis=0))


def test_a_calibrated_selection_is_still_at_rest_and_no_more_cautious_than_it_must_be() -> None:
    index = random_index()
    rest = rest_from(rest_of(400, index), index)
    chosen = calibrate(rest, most_per_minute=1.0)
    assert chosen.before_per_minute > 2.0
    assert chosen.switches_per_minute <= 1.0
    assert false_switches(rest, chosen.settings) == chosen.switches_per_minute
    factor = np.exp(chosen.raised_sd * chosen.lead_sd)
    assert chosen.settings.genre_odds == pytest.approx(1.5 * factor, rel=0.01)
    assert chosen.settings.clip_odds == pytest.approx(20.0 * factor, rel=0.01)
    other = rest_from(rest_of(400, index, seed=2), index)
    assert false_switches(other, chosen.settings) < false_switches(other, SelectionSettings())
    assert calibrate(rest, most_per_minute=0.2).raised_sd >= chosen.raised_sd
    assert calibrate(rest, most_per_minute=100.0).settings == SelectionSettings()


@pytest.mark.parametrize(("n", "most", "sentence"), [(20, 2.0, "wanted 60 s"), (200, -1.0, "keep this rest run")])
def test_a_rest_run_that_does_not_do_is_refused(n: int, most: float, sentence: str) -> None:
    index = random_index()
    with pytest.raises(DatasetError, match=sentence):
        calibrate(rest_from(rest_of(n, index), index), most)


def test_a_recorded_session_of_rest_gives_the_lines_for_the_settings(corpus, tmp_path) -> None:
    invoke("calibrate", tmp_path, "--catalogue", corpus.folder, code=1)
    catalogue = read_catalogue(corpus.folder)
    lines = [{"doc": "start", "run": {"tr_s": 1.5}}]
    lines += [{"doc": "step", "status": "OK", "volume": k, "n": k % 10 + 1, "embedding": encode_vector(row)}
              for k, row in enumerate(rest_of(100, catalogue))]
    folder = SessionFolder(tmp_path)
    folder.record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = small_bundle()
    maps = alike(catalogue.space.dim, (2.0, 4.0, 6.0, 8.0))
    write_bundle(folder.bundle, replace(
        made, manifest=replace(made.manifest, space=catalogue.space), embedding_mean=catalogue.centre,
        evidence_map=maps[0], clip_map=maps[1], tail=maps[2]))
    shown = invoke("calibrate", tmp_path, "--catalogue", corpus.folder, "--json", tmp_path / "chosen.json")
    figures = json.loads((tmp_path / "chosen.json").read_text())
    assert shown.startswith(f"[selection]\ngenre_odds = {figures['genre_odds']:g}\nclip_odds = ")
    assert figures["rest_s"] == 150.0
    assert figures["switches_per_minute"] <= 2.0
