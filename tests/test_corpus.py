"""The corpus on disk: what the live catalogue reads, reproducible, level, and neither trivial nor useless."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pyloudnorm
import pytest
import soundfile
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.corpus import index_corpus, read_corpus
from offline_training.corpus_composed import CorpusSettings, build_corpus, make_corpus
from offline_training.errors import DatasetError
from offline_training.targets import LogMelEmbedder
from realtime.music.catalogue import read_catalogue
from realtime.music.synth_styles import GENRES
from tests.benchmarks.music import RECORDINGS, same_recording

SMALL = CorpusSettings(n_per_genre=6, n_test_per_genre=2, duration_s=6.0, rate_hz=22050, seed=4)
TINY = replace(SMALL, n_per_genre=1, n_test_per_genre=0, duration_s=2.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), SMALL)


def test_the_live_catalogue_reads_what_the_corpus_wrote(corpus):
    catalogue = read_catalogue(corpus.folder)
    assert catalogue.space == corpus.space
    assert [clip.clip_id for clip in catalogue.clips] == [clip.clip_id for clip in corpus.clips]
    scores = catalogue.similarities(corpus.embeddings[17])
    assert catalogue.clips[int(scores.argmax())].clip_id == corpus.clips[17].clip_id


def test_every_genre_has_its_clips_and_its_test_clips(corpus):
    for genre in GENRES:
        splits = [clip.split for clip in corpus.clips if clip.genre == genre]
        assert sorted(splits) == ["test"] * 2 + ["training"] * 4


def test_entries_describe_their_files(corpus):
    for clip in corpus.clips[:10]:
        path = corpus.folder / clip.file
        audio, rate_hz = soundfile.read(path)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == clip.sha256
        assert rate_hz == SMALL.rate_hz
        assert len(audio) / rate_hz == pytest.approx(clip.duration_s)
        assert clip.duration_s >= SMALL.duration_s
        assert path.stat().st_size == clip.n_bytes
        assert pyloudnorm.Meter(rate_hz).integrated_loudness(audio) + clip.gain_db == pytest.approx(-23.0, abs=0.02)


def test_the_centre_is_the_mean_embedding(corpus):
    document = json.loads((corpus.folder / "corpus.json").read_text())
    np.testing.assert_allclose(document["centre"], corpus.embeddings.mean(axis=0), atol=1e-5)


def test_reading_gives_what_was_made(corpus):
    again = read_corpus(corpus.folder)
    np.testing.assert_array_equal(again.embeddings, corpus.embeddings)
    assert (again.clips, again.space, again.heard_s) == (corpus.clips, corpus.space, corpus.heard_s)


def test_indexing_with_the_saved_embedder_gives_the_same_embeddings(corpus):
    before = corpus.embeddings.copy()
    again = index_corpus(corpus.folder, LogMelEmbedder.load(corpus.folder / "embedder.npz"))
    np.testing.assert_allclose(again.embeddings, before, atol=1e-4)  # one clip at a time or all at once: BLAS rounds
    assert again.space == corpus.space


def test_indexing_with_another_corpus_embedder_moves_a_corpus_into_its_space(corpus, tmp_path):
    make_corpus(tmp_path / "other", replace(TINY, n_per_genre=2, seed=9))
    arguments = ["corpus", "index", str(tmp_path / "other"), "--embedder", str(corpus.folder / "embedder.npz")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert read_catalogue(tmp_path / "other").space == corpus.space
    assert LogMelEmbedder.load(tmp_path / "other" / "embedder.npz").space == corpus.space


def test_held_out_clips_are_nearest_to_their_genre_but_not_all_of_them(corpus):
    genres = np.array([clip.genre for clip in corpus.clips])
    training = np.array([clip.split == "training" for clip in corpus.clips])
    centred = corpus.embeddings - corpus.embeddings[training].mean(axis=0)
    centroids = np.array([centred[training & (genres == genre)].mean(axis=0) for genre in GENRES])
    cosines = (centred @ centroids.T) / np.linalg.norm(centroids, axis=1)
    correct = (np.array(GENRES)[cosines.argmax(axis=1)] == genres)[~training].mean()
    assert 0.4 < correct < 1.0  # chance 0.1


def test_the_same_settings_give_the_same_files_and_another_seed_gives_others(tmp_path):
    first = build_corpus(tmp_path / "a", TINY)
    again = build_corpus(tmp_path / "b", TINY)
    other = build_corpus(tmp_path / "c", replace(TINY, seed=5))
    assert [clip.sha256 for clip in first.clips] == [clip.sha256 for clip in again.clips]
    assert not {clip.sha256 for clip in first.clips} & {clip.sha256 for clip in other.clips}


def test_a_corpus_without_embeddings_is_refused_with_the_way_out(tmp_path):
    build_corpus(tmp_path, TINY)
    with pytest.raises(DatasetError, match="no embeddings; index it"):
        read_corpus(tmp_path)


def test_rebuilding_leaves_nothing_of_the_old_corpus(tmp_path):
    build_corpus(tmp_path, replace(TINY, n_per_genre=2))
    build_corpus(tmp_path, TINY)
    assert len(list((tmp_path / "clips").iterdir())) == 10


@pytest.mark.parametrize("damage", ["missing", "torn", "version", "entry", "rows"])
def test_a_damaged_corpus_is_refused(corpus, tmp_path, damage):
    for name in ("corpus.json", "embeddings.npy"):
        (tmp_path / name).write_bytes((corpus.folder / name).read_bytes())
    path = tmp_path / "corpus.json"
    document = json.loads(path.read_text())
    match damage:
        case "missing":
            path.unlink()
        case "torn":
            path.write_text(path.read_text()[:100])
        case "version":
            path.write_text(json.dumps({**document, "format_version": 99}))
        case "entry":
            path.write_text(json.dumps({**document, "clips": [{"clip_id": "x"}]}))
        case "rows":
            path.write_text(json.dumps({**document, "clips": document["clips"][1:]}))
    with pytest.raises(DatasetError, match=r"again|make one"):
        read_corpus(tmp_path)


def test_impossible_settings_are_all_named():
    with pytest.raises(DatasetError) as caught:
        CorpusSettings(n_per_genre=0, duration_s=1.0, borrow=3.0, rate_hz=8000)
    assert all(word in str(caught.value) for word in ("n_per_genre", "duration_s", "borrow", "rate_hz"))


@pytest.mark.data
def test_the_nearest_window_of_a_real_recording_is_of_the_same_recording(corpus):
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recorded data in {RECORDINGS}")
    figures = same_recording(LogMelEmbedder.load(corpus.folder / "embedder.npz"))["same_recording"]
    assert figures["n"] > 60
    assert figures["chance"] < 0.3
    assert figures["value"] >= 0.9
