"""Vectors that another program made: found by clip, whole or refused."""

import numpy as np
import pytest
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.corpus import place_vectors
from offline_training.corpus_composed import CorpusSettings, make_corpus
from offline_training.errors import DatasetError
from offline_training.outside_vectors import read_vectors
from realtime.music.catalogue import read_catalogue

VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def write(path, **changes):
    names = ["rock-000", "jazz-000.flac", "clips/pop-000.flac"]
    arrays = {"space": "musiccoca-768", "names": names, "vectors": VECTORS}
    np.savez(path, **{name: value for name, value in (arrays | changes).items() if value is not None})
    return path


def test_clips_are_found_by_id_file_name_or_path(tmp_path):
    vectors = read_vectors(write(tmp_path / "v.npz"))
    clips = [(name, f"clips/{name}.flac") for name in ("pop-000", "rock-000", "jazz-000")]
    np.testing.assert_array_equal(vectors.rows(clips), VECTORS[[2, 0, 1]])


def test_the_space_is_of_the_name_and_the_dimension_alone(tmp_path):
    first, again = read_vectors(write(tmp_path / "a.npz")), read_vectors(write(tmp_path / "b.npz", vectors=VECTORS + 1))
    assert first.space == again.space
    assert (first.space.name, first.space.dim) == ("musiccoca-768", 4)
    assert read_vectors(write(tmp_path / "c.npz", space="other")).space != first.space
    assert read_vectors(write(tmp_path / "d.npz", vectors=VECTORS[:, :3])).space != first.space


def test_clips_without_a_vector_are_named(tmp_path):
    vectors = read_vectors(write(tmp_path / "v.npz"))
    with pytest.raises(DatasetError, match=r"no vector for 6 of 7 clips: x0, x1, x2, x3, x4, …; embed these too"):
        vectors.rows([("rock-000", "a.flac"), *((f"x{n}", f"x{n}.flac") for n in range(6))])


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"names": ["a", "b"]}, "vectors of shape"), ({"vectors": VECTORS * np.nan}, "NaN"),
    ({"names": ["a", "b", "a"]}, "twice"), ({"space": ""}, "no name"), ({"vectors": None}, "does not hold vectors"),
    ({"names": None}, "does not hold vectors"),
    ({"names": np.array([{}, {}, {}], dtype=object)}, "no pickled objects"),
])
def test_a_file_that_does_not_fit_is_refused(tmp_path, changes, sentence):
    with pytest.raises(DatasetError, match=sentence):
        read_vectors(write(tmp_path / "v.npz", **changes))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="does not hold vectors"):
        read_vectors(tmp_path / "absent.npz")


def test_a_corpus_takes_vectors_from_outside_or_stays_as_it_was(tmp_path):
    made = make_corpus(tmp_path / "music", CorpusSettings(1, 0, 2.0, rate_hz=16000))
    with pytest.raises(DatasetError, match="no vector for 7 of 10 clips"):
        place_vectors(made.folder, read_vectors(write(tmp_path / "few.npz")))
    assert read_catalogue(made.folder).space == made.space
    names = [clip.clip_id for clip in made.clips]
    vectors = np.random.default_rng(0).standard_normal((10, 768)).astype(np.float32)
    arguments = ["corpus", "index", str(made.folder), "--vectors",
                 str(write(tmp_path / "all.npz", names=names, vectors=vectors))]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert not (made.folder / "embedder.npz").exists()
    both = CliRunner().invoke(app, [*arguments, "--embedder", "synth-128"])
    assert both.exit_code != 0
    assert "give one of them" in both.output
    catalogue = read_catalogue(made.folder)
    assert (catalogue.space.name, catalogue.space.dim) == ("musiccoca-768", 768)
    np.testing.assert_array_equal(catalogue.embedding(names[3]), vectors[3])
