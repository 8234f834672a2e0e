"""What every music index promises, whatever it is built on."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from realtime.broker import free_port
from realtime.errors import CatalogueError
from realtime.messages import Clip, EmbeddingSpace
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.music.index_faiss import FaissIndex, make_faiss
from realtime.music.index_places import open_index
from realtime.music.index_qdrant import connect, open_qdrant, upload
from realtime.ports import MusicIndex
from tests.qdrant_room import qdrant_server

SPACE = EmbeddingSpace("test", 8, "0" * 64)
N_CLIPS = 30


def embeddings(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N_CLIPS, SPACE.dim)).astype(np.float32) + 3.0


def in_memory() -> Catalogue:
    rows = embeddings()
    return Catalogue(SPACE, [Clip(f"clip{n:02}", Path("x")) for n in range(N_CLIPS)], rows, rows.mean(axis=0))


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


def with_faiss(_: Path) -> Iterator[MusicIndex]:
    catalogue = in_memory()
    yield FaissIndex(catalogue, make_faiss(catalogue.unit))


def kept_by_faiss(folder: Path) -> Iterator[MusicIndex]:
    catalogue = in_memory()
    open_index(catalogue, "faiss", folder)
    assert len(list(folder.glob("faiss-*.index"))) == 1
    yield open_index(catalogue, "faiss", folder)


def with_qdrant_in_memory(_: Path) -> Iterator[MusicIndex]:
    catalogue, client = in_memory(), QdrantClient(":memory:")
    upload(catalogue, client)
    yield open_qdrant(catalogue, client)
    client.close()


def with_qdrant_over_http(folder: Path) -> Iterator[MusicIndex]:
    catalogue = in_memory()
    with qdrant_server() as url:
        client = connect(url)
        upload(catalogue, client)
        upload(catalogue, client)
        client.close()
        yield open_index(catalogue, url, folder)


IMPLEMENTATIONS: dict[str, Callable[[Path], Iterator[MusicIndex]]] = {
    "exact": lambda _: iter([in_memory()]),
    "from disk": lambda folder: iter([read_catalogue(write_catalogue(folder))]),
    "faiss": with_faiss,
    "faiss, kept": kept_by_faiss,
    "Qdrant, local": with_qdrant_in_memory,
    "Qdrant, HTTP": with_qdrant_over_http,
}


@pytest.fixture(params=IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys())
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MusicIndex]:
    yield from request.param(tmp_path)


def naive_similarities(query: np.ndarray) -> dict[str, float]:
    rows = embeddings().astype(np.float64)
    centre = rows.mean(axis=0)
    out = {}
    for n, row in enumerate(rows):
        a, b = row - centre, query.astype(np.float64) - centre
        out[f"clip{n:02}"] = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    return out


def test_similarities_are_centred_cosines_in_the_order_asked_for(index: MusicIndex) -> None:
    query, wanted = np.arange(8, dtype=np.float32), ["clip07", "clip29", "clip00", "clip07"]
    got, naive = index.similarities(query, wanted), naive_similarities(query)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [naive[clip_id] for clip_id in wanted], atol=1e-6)


def test_asking_for_no_clip_is_no_error(index: MusicIndex) -> None:
    assert index.similarities(np.ones(8, np.float32), []).shape == (0,)


def test_every_clip_finds_itself_first(index: MusicIndex) -> None:
    for clip, row in zip(index.clips, embeddings(), strict=True):
        best = index.search(row, 1)[0]
        assert best.clip == clip == index.clip(clip.clip_id)
        assert best.score == pytest.approx(1.0, abs=1e-6)


def test_search_gives_the_best_of_all_sorted_and_no_more_than_asked_for(index: MusicIndex) -> None:
    query = np.ones(8, np.float32)
    naive = naive_similarities(query)
    best = sorted(naive, key=lambda clip_id: -naive[clip_id])
    assert [match.clip.clip_id for match in index.search(query, 7)] == best[:7]
    assert [match.clip.clip_id for match in index.search(query, 1000)] == best


def test_a_clip_has_the_same_score_to_the_bit_in_every_index_and_every_time(index: MusicIndex) -> None:
    query = np.linspace(-1, 1, 8, dtype=np.float32)
    exact = in_memory().similarities(query)
    for _ in range(3):
        for match in index.search(query.copy(), 12):
            assert np.float32(match.score) == exact[int(match.clip.clip_id[4:])]
        assert index.similarities(query, [clip.clip_id for clip in index.clips]).tobytes() == exact.tobytes()


def test_the_corpus_mean_itself_is_similar_to_nothing_and_no_error(index: MusicIndex) -> None:
    np.testing.assert_allclose(index.centre, embeddings().mean(axis=0), atol=1e-5)
    assert [match.score for match in index.search(index.centre, 3)] == [0.0] * 3


def test_an_unknown_clip_is_named(index: MusicIndex) -> None:
    with pytest.raises(CatalogueError, match="no clip 'nobody' among the 30"):
        index.clip("nobody")
    with pytest.raises(CatalogueError, match="no clip 'nobody' among the 30"):
        index.similarities(np.ones(8, np.float32), ["clip01", "nobody"])


@pytest.mark.parametrize("make", ["exact", "faiss", "qdrant"])
def test_ties_are_ordered_by_clip_id_even_at_the_cut(make: str) -> None:
    rows = np.vstack([np.ones((6, 8)), -np.ones((3, 8))]).astype(np.float32)
    doubled = Catalogue(SPACE, [Clip(name, Path("x")) for name in "fbdaceghi"], rows, np.zeros(8, np.float32))
    found: MusicIndex = doubled
    client = QdrantClient(":memory:")
    if make == "faiss":
        found = FaissIndex(doubled, make_faiss(doubled.unit))
    elif make == "qdrant":
        upload(doubled, client)
        found = open_qdrant(doubled, client)
    assert [match.clip.clip_id for match in found.search(rows[0], 4)] == list("abcd")
    client.close()


def test_cells_of_faiss_find_nearly_all_that_is_best() -> None:
    rng = np.random.default_rng(3)
    rows = (rng.standard_normal((40, 16))[rng.integers(0, 40, 6000)] + 0.4 * rng.standard_normal((6000, 16)))
    clips = [Clip(f"{n:05}", Path("x")) for n in range(len(rows))]
    exact = Catalogue(EmbeddingSpace("test", 16, ""), clips, rows.astype(np.float32), rows.mean(axis=0))
    cells = FaissIndex(exact, make_faiss(exact.unit, exhaustive=1000))
    again = FaissIndex(exact, make_faiss(exact.unit, exhaustive=1000))
    queries = (rows[:100] + 0.3 * rng.standard_normal((100, 16))).astype(np.float32)
    hits = [len({m.clip.clip_id for m in exact.search(q, 10)} & {m.clip.clip_id for m in cells.search(q, 10)})
            for q in queries]
    assert np.mean(hits) / 10 > 0.9
    assert all(cells.search(q, 10) == again.search(q, 10) for q in queries[:20])


def test_an_index_of_another_corpus_is_refused(tmp_path: Path) -> None:
    catalogue = in_memory()
    with pytest.raises(CatalogueError, match="holds 2 clips of 8 dimensions, the catalogue 30 of 8"):
        FaissIndex(catalogue, make_faiss(catalogue.unit[:2]))
    client = QdrantClient(":memory:")
    with pytest.raises(CatalogueError, match=r"has 0 of the 30 clips .* innerear corpus upload"):
        open_qdrant(catalogue, client)
    client.close()
    open_index(catalogue, "faiss", tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"no index")
    with pytest.raises(CatalogueError, match="cannot be read or written"):
        open_index(catalogue, "faiss", tmp_path)


def test_a_server_that_is_not_there_or_refuses_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="does not answer as it should"):
        open_index(in_memory(), f"http://127.0.0.1:{free_port()}", tmp_path)
    with qdrant_server(refuse=True) as url, pytest.raises(CatalogueError, match="does not answer as it should"):
        open_index(in_memory(), url, tmp_path)
    with pytest.raises(CatalogueError, match="no index 'annoy'; wanted exact, faiss, or http"):
        open_index(in_memory(), "annoy", tmp_path)


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


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_embeddings_are_the_clips_own_in_the_order_asked_for(name: str, tmp_path: Path) -> None:
    for index in IMPLEMENTATIONS[name](tmp_path):
        np.testing.assert_array_equal(index.embeddings(["clip07", "clip02"]), embeddings()[[7, 2]])
        assert index.embeddings([]).shape == (0, SPACE.dim)
        with pytest.raises(CatalogueError, match="no clip 'nobody'"):
            index.embeddings(["nobody"])
