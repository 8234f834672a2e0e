"""The embedders that come with the program: what they find, on music and words they have not met."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from offline_training.embedder.truth import INSTRUMENT_OF_VOICE
from offline_training.embedders import SHIPPED, open_embedder
from offline_training.errors import DatasetError
from realtime.music.synth import ClipSpec, mono, perform, render
from realtime.music.synth_parts import Arrangement
from realtime.music.synth_score import compose
from realtime.music.synth_styles import GENRES

NAMES = ("synth-128", "scorer-64")
RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "data" / "audio"
RATE_HZ = 24000


@pytest.fixture(scope="module", params=NAMES)
def shipped(request):
    return open_embedder(request.param)


def clips(n_per_genre=3, first_seed=50_000):
    """Clips as the corpus has them, ten seconds each."""
    return [render(ClipSpec(genre, first_seed + number, 10.0, RATE_HZ)) for number in range(n_per_genre)
            for genre in GENRES]


@pytest.fixture(scope="module")
def heard():
    return clips()


def test_the_report_is_of_these_files(shipped):
    folder = SHIPPED / f"embedder-{shipped.spec.name}"
    report = json.loads((folder / "report.json").read_text())
    assert report["space"] == {"name": shipped.space.name, "dim": shipped.space.dim, "sha256": shipped.space.sha256}
    assert report["largest_difference_onnx_torch"] < 1e-5
    assert (folder / "README.md").read_text().startswith(f"# {shipped.spec.name}")


def test_all_shipped_embedders_together_are_small():
    assert sum(path.stat().st_size for path in SHIPPED.glob("embedder-*/*")) < 3e6


def test_genre_instrument_and_tempo_are_read_off_fresh_clips(shipped, heard):
    read = [shipped.probes.read(shipped.embed(mono(clip.audio)[:10 * RATE_HZ], RATE_HZ)) for clip in heard]

    def share(kind, truths):
        said = [max(getattr(one, kind), key=getattr(one, kind).get) for one in read]
        return np.mean([word == truth for word, truth in zip(said, truths, strict=True)])

    assert share("genre", [clip.labels["genre"] for clip in heard]) > 0.7  # chance 0.1
    assert share("lead", [INSTRUMENT_OF_VOICE[clip.labels["lead"]] for clip in heard]) > 0.5  # chance 0.15
    assert share("mood", [clip.labels["mood"] for clip in heard]) > 0.5  # chance 0.35
    errors = [abs(np.log2(one.bpm / clip.bpm)) for one, clip in zip(read, heard, strict=True)]
    assert np.median(errors) < np.log2(1.2)


@pytest.mark.parametrize(("text", "asked"), [
    ("calm piano", {"scale": "major", "bpm": 66.0, "lead": "piano"}),
    ("sad violin", {"scale": "minor", "bpm": 66.0, "lead": "fiddle"}),
    ("fast flute", {"bpm": 160.0, "lead": "flute"}),
    ("harmonica", {"lead": "harmonica"}),
])
def test_words_find_the_clips_that_were_written_for_them(heard, text, asked):
    """All three must be among the six best of at least 18, which chance does less than once in forty times."""
    embedder = open_embedder("synth-128")
    written = [perform(compose(genre, 77, 10.0, 0.0, Arrangement(**asked)), RATE_HZ)
               for genre in ("classical", "pop", "country")]
    vectors = np.stack([embedder.embed(mono(clip.audio), RATE_HZ) for clip in [*written, *heard]])
    others = [row for row, clip in enumerate(heard, start=3) if not fits(clip, text)]
    assert len(others) >= 15
    centre = vectors.mean(axis=0)
    rows = vectors - centre
    cosines = rows @ (embedder.embed_text(text) - centre) / np.linalg.norm(rows, axis=1)
    best = [row for row in np.argsort(-cosines) if row < 3 or row in others][:6]
    assert {0, 1, 2} <= set(best)


def fits(clip, text):
    """Whether a clip of the plain corpus fits the words by chance."""
    said = {clip.labels["mood"], *(INSTRUMENT_OF_VOICE[clip.labels[part]] for part in ("lead", "chords"))}
    return any(word in said for word in text.split())


def test_a_genre_word_finds_the_genre(heard):
    embedder = open_embedder("synth-128")
    vectors = np.stack([embedder.embed(mono(clip.audio)[:10 * RATE_HZ], RATE_HZ) for clip in heard])
    rows = vectors - vectors.mean(axis=0)
    found = [heard[int((rows / np.linalg.norm(rows, axis=1)[:, None] @ embedder.embed_text(genre)).argmax())]
             for genre in GENRES]
    assert np.mean([clip.labels["genre"] == genre for clip, genre in zip(found, GENRES, strict=True)]) >= 0.8


def test_hop_by_hop_gives_the_bits_of_the_whole_window(shipped, heard):
    audio = mono(heard[0].audio)[:10 * RATE_HZ]
    stream = shipped.stream(RATE_HZ)
    for start in range(0, len(audio), 960):
        stream.push(audio[start:start + 960])
    np.testing.assert_array_equal(stream.vector(), shipped.embed(audio, RATE_HZ))


@pytest.mark.data
@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings in {RECORDINGS}")
def test_the_nearest_other_window_of_a_real_recording_is_of_the_same_recording(shipped):
    vectors, names, starts_s = real_windows(shipped)
    cosines = (rows := unit(vectors - vectors.mean(axis=0))) @ rows.T
    overlapping = (names[:, None] == names) & (np.abs(starts_s[:, None] - starts_s) < 10.0)
    cosines[overlapping] = -np.inf
    may_be_found = ((names[:, None] == names) & ~overlapping).any(axis=1)
    same = names[cosines.argmax(axis=1)] == names
    assert may_be_found.sum() > 50
    assert same[may_be_found].mean() >= 0.9


def real_windows(embedder):
    """Windows of ten seconds, every five, of every recording."""
    vectors, names, starts_s = [], [], []
    for path in sorted(RECORDINGS.glob("*.ogg")):
        audio, rate_hz = soundfile.read(path, dtype="float32")
        for start in range(0, len(audio) - 10 * rate_hz + 1, 5 * rate_hz):
            vectors.append(embedder.embed(audio[start:start + 10 * rate_hz], rate_hz))
            names.append(path.stem)
            starts_s.append(start / rate_hz)
    return np.stack(vectors), np.array(names), np.array(starts_s)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_name_that_is_no_embedder_is_refused_with_those_there_are():
    with pytest.raises(DatasetError, match=r"no embedder 'mulan': wanted one of scorer-64, synth-128"):
        open_embedder("mulan")
