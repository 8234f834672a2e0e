"""The conformance suite of the Embedder and TextEmbedder ports, run against every implementation."""

import sys
from functools import cache

import numpy as np
import pytest

from offline_training.embedders import open_embedder
from offline_training.errors import DatasetError, FitError
from offline_training.targets import LogMelEmbedder, logmel_statistics
from realtime.errors import EmbedderError
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.ports import Embedder, TextEmbedder
from tests.embedder_room import WAVEFORM, waveform_tower, whole, write_embedder

RATE_HZ = 22050


def sound(seed, n_s=4.0, rate_hz=RATE_HZ):
    """Amplitude-modulated harmonic tone with noise; every seed another pitch, rhythm and colour."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(n_s * rate_hz)) / rate_hz
    pitch, beat = rng.uniform(80, 600), rng.uniform(1, 6)
    tone = sum(np.sin(2 * np.pi * pitch * h * t) / h ** rng.uniform(0.5, 2) for h in range(1, 6))
    gate = 0.3 + 0.7 * (np.sin(2 * np.pi * beat * t) > 0)
    return (0.1 * tone * gate + 0.01 * rng.standard_normal(len(t))).astype(np.float32)


def logmel():
    return LogMelEmbedder.fit(np.array([logmel_statistics(sound(seed), RATE_HZ) for seed in range(12)]), dim=8)


def tiny(folder):
    return OnnxEmbedder.read(whole(folder))


def waveform(folder):
    return OnnxEmbedder.read(write_embedder(folder, {"audio.onnx": waveform_tower(3 * 16000)}, WAVEFORM))


def clap(folder):
    pytest.importorskip("transformers", reason="CLAP needs the extra 'embedder'")
    from offline_training.embedder.clap import ClapEmbedder
    from tests.clap_room import write_clap

    return ClapEmbedder.read(write_clap(folder))


IMPLEMENTATIONS = {"logmel": lambda _: logmel(), "onnx": tiny, "onnx of samples": waveform, "clap": clap,
                   "synth-128": lambda _: open_embedder("synth-128"), "scorer-64": lambda _: open_embedder("scorer-64")}
OURS = ("logmel", "scorer-64", "synth-128")
WITH_WORDS = ("clap", "onnx", "scorer-64", "synth-128")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return cache(lambda name: IMPLEMENTATIONS[name](tmp_path_factory.mktemp("embedder")))


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def embedder(request, opened) -> Embedder:
    return opened(request.param)


@pytest.fixture(params=OURS)
def ours(request, opened) -> Embedder:
    return opened(request.param)


@pytest.fixture(params=WITH_WORDS)
def text_embedder(request, opened) -> TextEmbedder:
    return opened(request.param)


def test_a_vector_has_the_dimension_of_its_space(embedder):
    vector = embedder.embed(sound(100), RATE_HZ)
    assert vector.shape == (embedder.space.dim,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()


def test_the_space_is_named_and_hashed(embedder):
    assert embedder.space.name
    assert len(bytes.fromhex(embedder.space.sha256)) == 32
    assert embedder.space == embedder.space


def test_no_two_embedders_share_a_space(opened):
    spaces = [opened(name).space.sha256 for name in IMPLEMENTATIONS if name != "clap"]
    assert len(set(spaces)) == len(spaces)


def test_the_same_sound_gives_the_same_vector_and_is_left_alone(embedder):
    audio = sound(101)
    before = audio.copy()
    np.testing.assert_array_equal(embedder.embed(audio, RATE_HZ), embedder.embed(audio, RATE_HZ))
    np.testing.assert_array_equal(audio, before)


def test_other_sounds_have_other_vectors(embedder):
    assert np.abs(embedder.embed(sound(102), RATE_HZ) - embedder.embed(sound(103), RATE_HZ)).max() > 1e-6


def test_loudness_matters_less_than_the_sound(ours):
    loud, soft, other = (ours.embed(audio, RATE_HZ) for audio in (sound(102), 0.25 * sound(102), sound(103)))
    assert np.linalg.norm(loud - soft) < 0.1 * np.linalg.norm(loud - other)


def test_the_sample_rate_matters_less_than_the_sound(ours):
    audio = sound(104)
    spectrum = np.pad(np.fft.rfft(audio), (0, len(audio) // 2))  # the same sound at twice the rate
    twice = (2 * np.fft.irfft(spectrum)).astype(np.float32)
    low, high = ours.embed(audio, RATE_HZ), ours.embed(twice, 2 * RATE_HZ)
    other = ours.embed(sound(105), RATE_HZ)
    assert np.linalg.norm(low - high) < 0.2 * np.linalg.norm(low - other)


def test_silence_has_a_vector(embedder):
    assert np.isfinite(embedder.embed(np.zeros(3 * RATE_HZ, np.float32), RATE_HZ)).all()


def test_two_channels_are_averaged(embedder):
    left, right = sound(106), sound(107)
    both = embedder.embed(np.stack([left, right], axis=1), RATE_HZ)
    np.testing.assert_allclose(both, embedder.embed((left + right) / 2, RATE_HZ), atol=1e-5 * np.abs(both).max())


@pytest.mark.parametrize("audio", [np.zeros(100, np.float32), np.zeros(0, np.float32),
                                   np.full(4 * RATE_HZ, np.nan, np.float32)], ids=["short", "empty", "nan"])
def test_what_cannot_be_embedded_is_refused(embedder, audio):
    with pytest.raises(EmbedderError, match="cannot be embedded"):
        embedder.embed(audio, RATE_HZ)


def test_words_have_vectors_of_the_same_space(text_embedder):
    vector = text_embedder.embed_text("calm piano")
    assert vector.shape == (text_embedder.space.dim,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(vector, text_embedder.embed_text("calm piano"))


def test_other_words_have_other_vectors(text_embedder):
    assert np.abs(text_embedder.embed_text("calm") - text_embedder.embed_text("piano")).max() > 1e-6


def test_no_words_are_refused(text_embedder):
    with pytest.raises(EmbedderError, match=r"text|word"):
        text_embedder.embed_text("  ")


def test_a_saved_embedder_is_the_same_space(tmp_path):
    made = logmel()
    made.save(tmp_path / "embedder.npz")
    loaded = LogMelEmbedder.load(tmp_path / "embedder.npz")
    assert loaded.space == made.space
    np.testing.assert_array_equal(loaded.embed(sound(1), RATE_HZ), made.embed(sound(1), RATE_HZ))


def test_other_parameters_are_another_space():
    made = logmel()
    moved = LogMelEmbedder(made.mean + np.float32(1e-3), made.scale, made.components)
    assert moved.space.sha256 != made.space.sha256


def test_principal_components_are_those_of_the_covariance():
    """Oracle: eigenvectors of the correlation matrix, another route than the SVD that fits."""
    statistics = np.array([logmel_statistics(sound(seed), RATE_HZ) for seed in range(12)])
    made = LogMelEmbedder.fit(statistics, dim=4)
    vectors = made.project(statistics).astype(np.float64)
    standard = (statistics - statistics.mean(axis=0)) / np.maximum(statistics.std(axis=0), 1e-3)
    largest = np.linalg.eigvalsh(np.cov(standard.astype(np.float64).T, bias=True))[::-1][:4]
    covariance = np.cov(vectors.T, bias=True)
    np.testing.assert_allclose(covariance, np.diag(np.sqrt(largest)), atol=1e-3 * np.sqrt(largest[0]))


def test_too_few_clips_cannot_be_fitted():
    with pytest.raises(FitError, match="more than 32 clips"):
        LogMelEmbedder.fit(np.zeros((20, 5), np.float32), dim=32)


def test_a_file_that_is_no_embedder_is_refused(tmp_path):
    with pytest.raises(EmbedderError, match="no embedder"):
        LogMelEmbedder.load(tmp_path / "absent.npz")
    (tmp_path / "junk.npz").write_bytes(b"junk")
    with pytest.raises(EmbedderError, match="no embedder"):
        LogMelEmbedder.load(tmp_path / "junk.npz")
    np.savez(tmp_path / "old.npz", recipe=np.array("older"), mean=0, scale=1, components=2)
    with pytest.raises(EmbedderError, match="another recipe"):
        LogMelEmbedder.load(tmp_path / "old.npz")


def test_a_folder_that_holds_no_clap_model_is_refused_and_nothing_is_fetched(tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="CLAP needs the extra 'embedder'")
    from tests.clap_room import write_clap

    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))
    write_clap(tmp_path / "whole")
    assert open_embedder(tmp_path / "whole").space.name == "clap-12"
    for name in ("model.safetensors", "preprocessor_config.json", "tokenizer.json"):
        folder = tmp_path / name
        folder.mkdir()
        for path in (tmp_path / "whole").iterdir():
            if path.name != name:
                (folder / path.name).write_bytes(path.read_bytes())
        with pytest.raises(EmbedderError, match="does not hold a CLAP model"):
            open_embedder(folder)


def test_without_torch_a_clap_folder_is_refused_with_the_extra_to_install(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "offline_training.embedder.clap", raising=False)
    with pytest.raises(DatasetError, match=r"pip install 'innerear\[embedder\]'"):
        open_embedder(tmp_path)
