"""What every music index promises, whatever it is built on."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from realtime.errors import CatalogueError
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.ports import MusicIndex

SPACE = EmbeddingSpace("test", 8, "0" * 64)
N_CLIPS = 30


def embeddings(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N_CLIPS, SPACE.dim)).astype(np.float32) + 3.0


def in_memory(_: Path) -> MusicIndex:
    rows = embeddings()
    return Catalogue(SPACE, [Clip(f"clip{n:02}", Path("x")) for n in range(N_CLIPS)], rows, rows.mean(axis=0))


def from_disk(folder: Path) -> MusicIndex:
    return read_catalogue(write_catalogue(folder))


def write_catalogue(folder: Path) -> Path:
    rows = embeddings()
    np.save(folder / "embeddings.npy", rows)
    clips = []
    for n in range(N_CLIPS):
        (folder / f"{n}.wav").write_bytes(bytes([n]) * 10)
        clips.append({"clip_id": f"clip{n:02}", "file": f"{n}.wav", "genre": "g", "duration_s": 1.0,
                      "sha256": hashlib.sha256(bytes([n]) * 10).hexdigest()})
    document = {"format_version": 1, "space": vars(SPACE), "centre": rows.mean(axis=0).tolist(), "clips": clips}
    (folder / "corpus.json").write_text(json.dumps(document))
    return folder


IMPLEMENTATIONS = {"in memory": in_memory, "from disk": from_disk}


@pytest.fixture(params=IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys())
def index(request: pytest.FixtureRequest, tmp_path: Path) -> MusicIndex:
    make: Callable[[Path], MusicIndex] = request.param
    return make(tmp_path)


def naive_similarities(query: np.ndarray) -> list[float]:
    rows = embeddings().astype(np.float64)
    centre = rows.mean(axis=0)
    out = []
    for row in rows:
        a, b = row - centre, query.astype(np.float64) - centre
        out.append(float(a @ b / np.sqrt((a @ a) * (b @ b))))
    return out


def test_similarities_are_centred_cosines(index: MusicIndex) -> None:
    query = np.arange(8, dtype=np.float32)
    got = index.similarities(query)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, naive_similarities(query), atol=1e-6)


def test_every_clip_finds_itself_first(index: MusicIndex) -> None:
    for clip, row in zip(index.clips, embeddings(), strict=True):
        best = index.search(row, 1)[0]
        assert best.clip.clip_id == clip.clip_id
        assert best.score == pytest.approx(1.0, abs=1e-6)


def test_search_is_sorted_and_has_no_more_than_asked_for(index: MusicIndex) -> None:
    matches = index.search(np.ones(8, np.float32), 7)
    assert len(matches) == 7
    assert [match.score for match in matches] == sorted((match.score for match in matches), reverse=True)


def test_the_corpus_mean_itself_is_similar_to_nothing_and_no_error(index: MusicIndex) -> None:
    centre = embeddings().mean(axis=0)
    assert np.abs(index.similarities(centre)).max() <= 1.0


def test_the_same_query_gives_the_same_bits(index: MusicIndex) -> None:
    query = np.linspace(-1, 1, 8, dtype=np.float32)
    first = index.similarities(query).tobytes()
    assert all(index.similarities(query.copy()).tobytes() == first for _ in range(20))


def test_ties_are_ordered_by_clip_id() -> None:
    row = np.ones((1, 8), np.float32)
    doubled = Catalogue(SPACE, [Clip("b", Path("x")), Clip("a", Path("x"))], np.vstack([row, row]), np.zeros(8))
    assert [match.clip.clip_id for match in doubled.search(row[0], 2)] == ["a", "b"]


def test_missing_and_changed_audio_are_all_named(tmp_path: Path) -> None:
    write_catalogue(tmp_path)
    (tmp_path / "3.wav").unlink()
    (tmp_path / "5.wav").write_bytes(b"other")
    with pytest.raises(CatalogueError, match=r"clip03: .* cannot be read .*clip05: .* has changed"):
        read_catalogue(tmp_path)
    assert len(read_catalogue(tmp_path, check_audio=False).clips) == N_CLIPS


@pytest.mark.parametrize(("damage", "sentence"), [
    (lambda folder: (folder / "corpus.json").unlink(), "no catalogue in"),
    (lambda folder: (folder / "corpus.json").write_text("{"), "is not JSON"),
    (lambda folder: (folder / "corpus.json").write_text('{"format_version": 9}'), "format version 9"),
    (lambda folder: np.save(folder / "embeddings.npy", np.zeros((2, 2), np.float32)), "has shape"),
    (lambda folder: (folder / "embeddings.npy").write_bytes(b"no"), "cannot be read"),
])
def test_a_damaged_catalogue_is_one_sentence(tmp_path: Path, damage: Callable[[Path], None], sentence: str) -> None:
    write_catalogue(tmp_path)
    damage(tmp_path)
    with pytest.raises(CatalogueError, match=sentence):
        read_catalogue(tmp_path)


def test_an_unknown_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no clip 'nobody' among the 30"):
        read_catalogue(write_catalogue(tmp_path)).embedding("nobody")
