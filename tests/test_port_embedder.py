"""The conformance suite of the Embedder port, run against every implementation."""

import numpy as np
import pytest

from offline_training.errors import DatasetError, FitError
from offline_training.targets import LogMelEmbedder, logmel_statistics
from realtime.ports import Embedder

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


IMPLEMENTATIONS = {"logmel": logmel}


@pytest.fixture(scope="module", params=sorted(IMPLEMENTATIONS))
def embedder(request) -> Embedder:
    return IMPLEMENTATIONS[request.param]()


def test_a_vector_has_the_dimension_of_its_space(embedder):
    vector = embedder.embed(sound(100), RATE_HZ)
    assert vector.shape == (embedder.space.dim,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()


def test_the_space_is_named_and_hashed(embedder):
    assert embedder.space.name
    assert len(bytes.fromhex(embedder.space.sha256)) == 32
    assert embedder.space == embedder.space


def test_the_same_sound_gives_the_same_vector_and_is_left_alone(embedder):
    audio = sound(101)
    before = audio.copy()
    np.testing.assert_array_equal(embedder.embed(audio, RATE_HZ), embedder.embed(audio, RATE_HZ))
    np.testing.assert_array_equal(audio, before)


def test_loudness_matters_less_than_the_sound(embedder):
    loud, soft, other = (embedder.embed(audio, RATE_HZ) for audio in (sound(102), 0.25 * sound(102), sound(103)))
    assert np.linalg.norm(loud - soft) < 0.1 * np.linalg.norm(loud - other)


def test_the_sample_rate_matters_less_than_the_sound(embedder):
    audio = sound(104)
    spectrum = np.pad(np.fft.rfft(audio), (0, len(audio) // 2))  # the same sound at twice the rate
    twice = (2 * np.fft.irfft(spectrum)).astype(np.float32)
    low, high = embedder.embed(audio, RATE_HZ), embedder.embed(twice, 2 * RATE_HZ)
    other = embedder.embed(sound(105), RATE_HZ)
    assert np.linalg.norm(low - high) < 0.2 * np.linalg.norm(low - other)


def test_silence_has_a_vector(embedder):
    assert np.isfinite(embedder.embed(np.zeros(3 * RATE_HZ, np.float32), RATE_HZ)).all()


@pytest.mark.parametrize("audio", [np.zeros(100, np.float32), np.zeros(0, np.float32),
                                   np.full(4 * RATE_HZ, np.nan, np.float32)], ids=["short", "empty", "nan"])
def test_what_cannot_be_embedded_is_refused(embedder, audio):
    with pytest.raises(DatasetError, match="cannot be embedded"):
        embedder.embed(audio, RATE_HZ)


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
    with pytest.raises(DatasetError, match="no embedder"):
        LogMelEmbedder.load(tmp_path / "absent.npz")
    (tmp_path / "junk.npz").write_bytes(b"junk")
    with pytest.raises(DatasetError, match="no embedder"):
        LogMelEmbedder.load(tmp_path / "junk.npz")
    np.savez(tmp_path / "old.npz", recipe=np.array("older"), mean=0, scale=1, components=2)
    with pytest.raises(DatasetError, match="another recipe"):
        LogMelEmbedder.load(tmp_path / "old.npz")
