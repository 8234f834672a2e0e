"""Embedders from a folder: what they compute, hop by hop and at once, and what they refuse."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import EmbedderError
from realtime.music.attributes import AttributeProbes
from realtime.music.logmel import band_power, levels_db
from realtime.music.onnx_embedder import OnnxEmbedder
from realtime.music.words import WordTable
from tests.embedder_room import (
    BANDS,
    DIM,
    FRONT_END,
    WAVEFORM,
    WORDS,
    audio_tower,
    probes,
    text_tower,
    waveform_tower,
    whole,
    write_embedder,
)

RATE_HZ = 16000


def noise(n_s, rate_hz=RATE_HZ, seed=0):
    steps = np.random.default_rng(seed).standard_normal(int(n_s * rate_hz))
    return (0.1 * steps * (1 + np.sin(np.arange(len(steps)) / rate_hz * (3 + seed)))).astype(np.float32)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return OnnxEmbedder.read(whole(tmp_path_factory.mktemp("embedder")))


def test_a_window_goes_through_front_end_and_tower(embedder):
    audio = noise(2.0)
    levels = levels_db(band_power(audio, RATE_HZ, FRONT_END), FRONT_END).astype(np.float64)
    weights = np.random.default_rng(0).standard_normal((2 * BANDS, DIM)).astype(np.float32)
    vector = np.concatenate([levels.mean(0), np.abs(levels - levels.mean(0)).mean(0)]) @ weights
    np.testing.assert_allclose(embedder.embed(audio, RATE_HZ), vector / np.linalg.norm(vector), atol=1e-5)


def test_long_sound_is_the_mean_of_its_windows_and_ends_with_one(embedder):
    audio = noise(5.0)
    hop, window = round(1.5 / 0.04) * 640, (FRONT_END.n_frames(3.0) - 1) * 640 + 1280
    end = ((len(audio) - 1280) // 640) * 640 + 1280
    parts = [embedder.embed(audio[start:start + window], RATE_HZ) for start in (0, hop, end - window)]
    mean = np.mean(parts, axis=0)
    np.testing.assert_allclose(embedder.embed(audio, RATE_HZ), mean / np.linalg.norm(mean), atol=1e-6)


def test_channels_are_averaged(embedder):
    left, right = noise(2.0), noise(2.0, seed=1)
    np.testing.assert_array_equal(embedder.embed(np.stack([left, right], axis=1), RATE_HZ),
                                  embedder.embed(np.stack([left, right], axis=1).mean(axis=1), RATE_HZ))


@given(cuts=st.lists(st.integers(1, 20000), max_size=8), rate_hz=st.sampled_from([16000, 22050, 48000]))
@settings(max_examples=20, deadline=None)
def test_hop_by_hop_gives_the_bits_of_the_whole_window(embedder, cuts, rate_hz):
    audio, at = noise(2.5, rate_hz), 0
    stream = embedder.stream(rate_hz)
    for cut in [*cuts, len(audio)]:
        stream.push(audio[at:at + cut])
        at += cut
    np.testing.assert_array_equal(stream.vector(), embedder.embed(audio, rate_hz))


def test_a_stream_forgets_what_is_older_than_its_window(embedder):
    audio = noise(9.0)
    stream = embedder.stream(RATE_HZ)
    stream.push(audio)
    n = (FRONT_END.n_frames(3.0) - 1) * 640 + 1280
    end = ((len(audio) - 1280) // 640) * 640 + 1280
    np.testing.assert_array_equal(stream.vector(), embedder.embed(audio[end - n:end], RATE_HZ))


def test_a_stream_has_no_vector_before_the_shortest_sound(embedder):
    stream = embedder.stream(RATE_HZ)
    assert stream.push(noise(0.9)) == FRONT_END.n_frames(0.9)
    assert stream.vector() is None
    stream.push(noise(0.2))
    assert stream.vector() is not None


def test_words_go_through_the_text_tower_in_any_order(embedder):
    table = np.random.default_rng(1).standard_normal((len(WORDS) + 1, DIM)).astype(np.float32)
    vector = table[1] + table[3]
    np.testing.assert_allclose(embedder.embed_text("Calm, PIANO"), vector / np.linalg.norm(vector), atol=1e-6)
    np.testing.assert_array_equal(embedder.embed_text("piano calm"), embedder.embed_text("a piano, calm and calm!"))


@pytest.mark.parametrize("text", ["", "zither", "42"])
def test_a_text_of_unknown_words_is_refused(embedder, text):
    with pytest.raises(EmbedderError, match="no word this embedder knows; it knows calm, loud, piano"):
        embedder.embed_text(text)


def test_words_are_padded_with_zero():
    np.testing.assert_array_equal(WordTable(("a", "b", "c")).tokens(["c a", "b"]), [[3, 1], [2, 0]])


def test_samples_are_resampled_repeated_and_cut_into_windows(tmp_path):
    tower = OnnxEmbedder.read(write_embedder(tmp_path, {"audio.onnx": waveform_tower(3 * 16000)}, WAVEFORM))
    ramp = np.linspace(0.1, 1, 3 * 16000, dtype=np.float32)
    eighths = ramp.reshape(DIM, -1).mean(axis=1)
    np.testing.assert_allclose(tower.embed(ramp, 16000), eighths / np.linalg.norm(eighths), atol=1e-5)
    np.testing.assert_allclose(tower.embed(np.repeat(ramp, 3), 48000), tower.embed(ramp, 16000), atol=5e-3)
    twice = tower.embed(np.resize(ramp[:24000], 48000), 16000)
    np.testing.assert_array_equal(tower.embed(ramp[:24000], 16000), twice)
    with pytest.raises(EmbedderError, match="cannot follow sound hop by hop"):
        tower.stream(16000)
    with pytest.raises(EmbedderError, match="has no text tower"):
        tower.embed_text("calm")


@pytest.mark.parametrize(("audio", "rate_hz"), [(noise(0.5), RATE_HZ), (np.zeros(0, np.float32), RATE_HZ),
                                                (np.full(2 * RATE_HZ, np.nan, np.float32), RATE_HZ),
                                                (noise(2.0), 8000)],
                         ids=["short", "empty", "nan", "slow"])
def test_sound_that_cannot_be_embedded_is_refused(embedder, audio, rate_hz):
    with pytest.raises(EmbedderError, match="cannot be embedded"):
        embedder.embed(audio, rate_hz)


def test_probes_read_classes_and_tempo(embedder):
    arrays = probes()
    vector = np.arange(1, DIM + 1, dtype=np.float32)
    read = embedder.probes.read(3 * vector)
    logits = arrays["lead_weight"].astype(np.float64) @ (vector / np.linalg.norm(vector)) + arrays["lead_bias"]
    wanted = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose([read.lead[name] for name in ("piano", "flute", "organ")], wanted, atol=1e-6)
    assert sum(read.genre.values()) == pytest.approx(1)
    octaves = arrays["tempo_weight"][0] @ (vector / np.linalg.norm(vector)) + arrays["tempo_bias"][0]
    assert read.bpm == pytest.approx(100 * 2 ** float(np.clip(octaves, -2, 2)), rel=1e-5)


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "junk"])
def test_damaged_probes_are_refused(tmp_path, damage):
    arrays = probes()
    match damage:
        case "missing":
            del arrays["mood_weight"]
        case "shape":
            arrays["mood_weight"] = arrays["mood_weight"][:, 1:]
        case "nan":
            arrays["mood_weight"] = arrays["mood_weight"] * np.nan
    np.savez(tmp_path / "probes.npz", **arrays)
    payload = (tmp_path / "probes.npz").read_bytes() if damage != "junk" else b"junk"
    with pytest.raises(EmbedderError, match="export"):
        AttributeProbes(payload, DIM)


@pytest.mark.parametrize("changed", ["audio.onnx", "text.onnx", "probes.npz", "spec.json"])
def test_another_byte_is_another_space_or_a_refusal(tmp_path, changed):
    space = OnnxEmbedder.read(whole(tmp_path)).space
    if changed == "spec.json":
        document = json.loads((tmp_path / changed).read_text())
        (tmp_path / changed).write_text(json.dumps(document | {"hop_s": 1.0}))
        assert OnnxEmbedder.read(tmp_path).space != space
    else:
        payload = bytearray((tmp_path / changed).read_bytes())
        payload[len(payload) // 2] ^= 1
        (tmp_path / changed).write_bytes(payload)
        with pytest.raises(EmbedderError, match=f"{changed} has changed"):
            OnnxEmbedder.read(tmp_path)


WRONG_SPECS = {
    "version": ({"format_version": 9}, "format version 9"),
    "kind": ({"front_end": {"kind": "ears"}}, "does not describe"),
    "bands": ({"front_end": {"kind": "log-mel", "n_bands": 0}}, "no front end"),
    "bands of the graph": ({"front_end": {"kind": "log-mel", "n_bands": 15}}, "wanted .*15"),
    "key": ({"colour": "blue"}, "does not describe"), "dim": ({"dim": 0}, "dim 0"),
    "dim of the graph": ({"dim": 7}, r"wanted .*\[1, 7\]"), "window": ({"window_s": 0.5}, "window_s 0.5"),
    "words": ({"words": []}, "with 0 words"), "files": ({"audio": "other.onnx"}, "checksums"),
    "path": ({"audio": "../audio.onnx", "sha256": {"../audio.onnx": "0"}, "text": "", "words": [], "probes": ""},
             "checksums"),
}


@pytest.mark.parametrize("case", WRONG_SPECS)
def test_a_spec_that_makes_no_sense_is_refused(tmp_path, case):
    whole(tmp_path)
    changes, sentence = WRONG_SPECS[case]
    document = json.loads((tmp_path / "spec.json").read_text())
    (tmp_path / "spec.json").write_text(json.dumps(document | changes))
    with pytest.raises(EmbedderError, match=sentence):
        OnnxEmbedder.read(tmp_path)


def test_a_folder_without_an_embedder_is_refused(tmp_path):
    with pytest.raises(EmbedderError, match="no embedder in"):
        OnnxEmbedder.read(tmp_path)
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(EmbedderError, match="is not JSON"):
        OnnxEmbedder.read(tmp_path)
    write_embedder(tmp_path, {"audio.onnx": audio_tower(), "text.onnx": text_tower()})
    (tmp_path / "text.onnx").unlink()
    with pytest.raises(EmbedderError, match=r"text\.onnx cannot be read"):
        OnnxEmbedder.read(tmp_path)
