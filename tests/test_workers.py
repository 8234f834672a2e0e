"""Workers with large models, as real processes: MusicGen all real but tiny, Magenta RealTime's package a fake."""

import importlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="MusicGen needs the extra 'embedder'")
pytest.importorskip("transformers", reason="MusicGen needs the extra 'embedder'")
pytest.importorskip("soxr", reason="MusicGen's music is resampled by the extra 'corpus'")

from realtime.errors import GeneratorError
from realtime.generators.make import make_bank
from realtime.generators.worker_generator import WorkerGenerator
from realtime.generators.worker_link import WorkerLink
from realtime.messages import Condition, EmbeddingSpace
from realtime.workers.adapter import TextAdapter
from realtime.workers.magenta import MASKED, RATE_HZ, STYLE_DIM, MagentaModel, MagentaSettings
from realtime.workers.musicgen import CHUNK_FRAMES, MusicgenModel, MusicgenSettings
from realtime.workers.seams import Seam
from tests.builders import DIM, SPACE, write_corpus
from tests.worker_room import FAKES, musicgen_folder, random_adapter, worker

__all__ = ["musicgen_folder"]
STYLES = EmbeddingSpace("musiccoca-768", STYLE_DIM, "7" * 64)


def embedding(seed: int, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


@contextmanager
def music(corpus: Path, endpoint: str, deadline_s: float = 0.25) -> Iterator[WorkerGenerator]:
    generator = WorkerGenerator(WorkerLink(endpoint), make_bank(corpus), 3, deadline_s)
    generator.condition(Condition(0, 0, embedding(0, generator.space.dim)))
    try:
        yield generator
    finally:
        generator.close()


def until(generator: WorkerGenerator, stands_in: bool, most: int = 30_000) -> np.ndarray:
    """Sound up to and with the chunk after which the corpus does or does not stand in."""
    made = []
    for _ in range(most):
        made.append(generator.chunk().frames)
        if bool(generator.stands_in) == stands_in:
            return np.concatenate(made)
    raise AssertionError(f"after {most} chunks still: {generator.stands_in!r}")


def is_sound(frames: np.ndarray) -> bool:
    return bool(np.isfinite(frames).all() and np.abs(frames).max() <= 1.0 and (frames != 0).any())


# MusicGen -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapter(musicgen_folder: Path) -> Path:
    random_adapter(musicgen_folder).save(musicgen_folder / "adapter.npz")
    return musicgen_folder / "adapter.npz"


def musicgen(folder: Path, adapter: Path, **settings: float) -> MusicgenModel:
    wanted = {"segment_s": 0.6, "prompt_s": 0.2, "ahead_s": 0.3, "patience_s": 60.0} | settings
    return MusicgenModel.open(folder, adapter, replace(MusicgenSettings(), **wanted))


def play(model: MusicgenModel, n: int, conditions: dict[int, int]) -> np.ndarray:
    chunks = [np.zeros((0, 2), np.float32)]
    for number in range(n):
        if number in conditions:
            model.condition(embedding(conditions[number]))
        chunks.append(model.chunk())
        assert chunks[-1].shape == (CHUNK_FRAMES, 2)
    return np.concatenate(chunks)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_musicgen_makes_the_same_music_of_the_same_requests(musicgen_folder: Path, adapter: Path,
                                                           guidance: float) -> None:
    model, other = (musicgen(musicgen_folder, adapter, guidance=guidance) for _ in range(2))
    model.begin(3)
    other.begin(4)
    first, another = play(model, 16, {0: 0, 6: 1}), play(other, 16, {0: 0, 6: 1})
    assert is_sound(first)
    assert not np.array_equal(first, another)
    model.begin(3)
    np.testing.assert_array_equal(play(model, 16, {0: 0, 6: 1}), first)
    model.begin(3)
    changed = play(model, 16, {0: 0, 6: 2})
    assert not np.array_equal(changed, first)
    np.testing.assert_array_equal(changed[: 6 * CHUNK_FRAMES], first[: 6 * CHUNK_FRAMES])


@pytest.mark.parametrize("cut", [0, 2, 7])
def test_musicgen_goes_on_from_its_state_bit_for_bit(musicgen_folder: Path, adapter: Path, cut: int) -> None:
    model, other = musicgen(musicgen_folder, adapter), musicgen(musicgen_folder, adapter)
    model.begin(3)
    play(model, cut, {0: 0})
    model.condition(embedding(1))
    state = model.state()
    wanted = play(model, 12, {4: 2})
    play(other, 3, {0: 5})
    other.restore(state)
    np.testing.assert_array_equal(play(other, 12, {4: 2}), wanted)
    with pytest.raises(GeneratorError, match="not one of MusicGen's"):
        other.restore(b"junk")


def test_musicgen_says_when_a_segment_is_not_ready_and_keeps_what_was_begun(musicgen_folder: Path,
                                                                           adapter: Path) -> None:
    model, straight = musicgen(musicgen_folder, adapter, patience_s=0.0), musicgen(musicgen_folder, adapter)
    for one in (model, straight):
        one.begin(8)
        one.condition(embedding(0))
    with pytest.raises(GeneratorError, match="not ready"):
        model.chunk()
    begun = model._coming
    assert begun is not None
    model.begin(8)  # what the live side does when it comes back
    assert model._coming is begun
    begun.result(60)
    np.testing.assert_array_equal(model.chunk(), straight.chunk())


def test_a_musicgen_process_plays_and_is_replaced_when_it_dies(musicgen_folder: Path, adapter: Path,
                                                              tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 4)
    asked = ("musicgen", musicgen_folder, adapter, "--segment-s", 2.0, "--ahead-s", 2.0, "--prompt-s", 0.2)
    with worker(*asked) as (process, endpoint), music(corpus, endpoint) as generator:
        assert is_sound(until(generator, stands_in=False))
        assert is_sound(np.concatenate([generator.chunk().frames for _ in range(5)]))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert is_sound(until(generator, stands_in=True))


def test_an_adapter_survives_its_file_and_others_are_refused(musicgen_folder: Path, adapter: Path,
                                                            tmp_path: Path) -> None:
    read = TextAdapter.load(adapter)
    np.testing.assert_allclose(read.tell(embedding(0)), embedding(0) @ read.weights + read.bias, rtol=1e-5)
    for wrong in (replace(read, weights=read.weights[:, :3]), replace(read, bias=read.bias * np.float32(np.nan))):
        wrong.save(tmp_path / "wrong.npz")
        with pytest.raises(GeneratorError, match="or holds NaN"):
            TextAdapter.load(tmp_path / "wrong.npz")
    with pytest.raises(GeneratorError, match="no adapter in"):
        TextAdapter.load(tmp_path / "absent.npz")
    replace(read, encoder="0" * 64).save(tmp_path / "other.npz")
    with pytest.raises(GeneratorError, match="the adapter tells 16 numbers of text encoder 0000"):
        MusicgenModel.open(musicgen_folder, tmp_path / "other.npz", MusicgenSettings())
    with pytest.raises(GeneratorError, match="does not hold a MusicGen model"):
        MusicgenModel.open(tmp_path, adapter, MusicgenSettings())


def test_an_adapter_learns_what_captions_say(musicgen_folder: Path) -> None:
    from offline_training.embedders import open_embedder
    from offline_training.generator.adapt import fit_adapter

    with ThreadPoolExecutor(1) as executor:
        fitted = fit_adapter(musicgen_folder, open_embedder("synth-128"), 60, executor)
    assert fitted.about["explained"] > fitted.about["explained_permuted"]
    assert fitted.weights.shape == (128, 16)


def test_segments_of_one_sound_join_to_that_sound() -> None:
    import soxr

    sound = np.sin(np.arange(24000) * 0.05).astype(np.float32) * np.linspace(0.2, 1, 24000, dtype=np.float32)
    seam, joined, prompt = Seam(8000, 48000), [], 1600
    for begin in range(0, 24000, 8000):
        known = prompt if begin else 0
        joined.append(seam.join(sound[begin - known : begin + 8000], known))
    got = np.concatenate(joined)
    np.testing.assert_allclose(got, soxr.resample(sound, 8000, 48000)[: len(got)], atol=1e-3)
    assert len(got) == 6 * (24000 - 160)


# Magenta RealTime -----------------------------------------------------------------------


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The fake package, for this process."""
    import sys

    monkeypatch.syspath_prepend(str(FAKES))
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("magenta_rt", "jax")]:
        del sys.modules[name]


@pytest.mark.usefixtures("package")
def test_magenta_is_told_the_first_style_tokens_and_the_rest_masked() -> None:
    model = MagentaModel.open(STYLES, 2.0, MagentaSettings(style_tokens=4))
    style = embedding(0, STYLE_DIM)
    model.condition(style)
    scaled = (style * np.float32(2.0 / np.linalg.norm(style))).astype(np.float32)
    told = [int(token) for token in model._system.tokenize_style(scaled)]
    assert model._tokens == told[:4] + [MASKED] * 8
    model.condition(3 * style)  # decoded vectors shrink: length says nothing
    assert model._tokens == told[:4] + [MASKED] * 8


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("cut", [0, 5])
def test_magenta_goes_on_from_its_state_bit_for_bit(cut: int) -> None:
    model, other = (MagentaModel.open(STYLES, 1.0, MagentaSettings(frames_per_chunk=2)) for _ in range(2))
    model.condition(embedding(1, STYLE_DIM))
    for _ in range(cut):
        assert model.chunk().shape == (3840, 2) == (model.chunk_frames, 2)
    state = model.state()
    wanted = [model.chunk() for _ in range(4)]
    other.chunk()
    other.restore(state)
    np.testing.assert_array_equal([other.chunk() for _ in range(4)], wanted)
    with pytest.raises(GeneratorError, match="not one of Magenta RealTime's"):
        other.restore(b"junk")


@pytest.mark.usefixtures("package")
def test_magenta_refuses_another_space_and_a_size_it_has_not() -> None:
    with pytest.raises(GeneratorError, match="takes MusicCoCa's 768 dimensions"):
        MagentaModel.open(SPACE, 1.0, MagentaSettings())
    with pytest.raises(GeneratorError, match="cannot be loaded"):
        MagentaModel.open(STYLES, 1.0, MagentaSettings(size="mrt2_huge"))
    with pytest.raises(GeneratorError, match="style_tokens is 13"):
        MagentaSettings(style_tokens=13)


def test_without_its_package_magenta_says_how_to_get_it() -> None:
    with pytest.raises(GeneratorError, match=r"pip install 'magenta-rt\[jax\]'"):
        MagentaModel.open(STYLES, 1.0, MagentaSettings())


def test_a_magenta_process_stalls_dies_and_comes_back_and_the_music_goes_on(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 4, space=STYLES)
    with worker("magenta", corpus, fakes=True, FAKE_MAGENTA_STALLS_AT="20") as (process, endpoint), \
            music(corpus, endpoint) as generator:
        assert generator.stands_in == ""
        assert is_sound(np.concatenate([generator.chunk().frames for _ in range(5)]))
        assert is_sound(until(generator, stands_in=True))
        assert "no chunk within 0.25 s" in generator.stands_in
        assert is_sound(until(generator, stands_in=False))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert is_sound(until(generator, stands_in=True))
        assert generator.rate_hz == RATE_HZ
