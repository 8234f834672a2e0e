"""Listening with numbers, and the page of examples."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from offline_training.examples import FIGURES, PAGE, PICTURE, write_examples
from offline_training.listening import BANDS_HZ, listen
from realtime.music.synth_styles import GENRES

RATE_HZ = 48000


def tone(hertz: float = 1000.0, seconds: float = 3.0, level: float = 0.5) -> np.ndarray:
    sound = (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)
    return np.column_stack([sound, sound])


def test_a_steady_tone_is_heard_as_one() -> None:
    heard = listen(tone(), RATE_HZ)
    assert heard.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert heard.crest_db == pytest.approx(3.01, abs=0.05)
    assert heard.dynamics_db < 0.5
    assert heard.onsets_per_s == 0
    assert heard.balance_db[2] == pytest.approx(0.0, abs=0.01)
    assert max(heard.balance_db[:2] + heard.balance_db[3:]) < -40
    assert heard.sides_db < -100


def test_beats_are_counted_and_an_offset_is_told() -> None:
    since_beat_s = np.arange(8 * RATE_HZ) % (RATE_HZ // 2) / RATE_HZ
    beats = tone(200.0, 8.0) * np.exp(-since_beat_s / 0.05)[:, None].astype(np.float32)
    assert listen(beats, RATE_HZ).onsets_per_s == pytest.approx(2.0, abs=0.3)
    assert listen(tone() + np.float32(0.1), RATE_HZ).offset == pytest.approx(0.1, abs=1e-3)


def test_silence_is_no_error() -> None:
    heard = listen(np.zeros((RATE_HZ, 2), np.float32), RATE_HZ)
    assert heard.peak_dbfs == heard.peak_dbfs < -200
    assert heard.onsets_per_s == 0


def test_the_examples_are_ten_clean_pieces_with_a_page_and_a_picture(tmp_path: Path) -> None:
    paths = write_examples(tmp_path, 4.0)
    assert {path.name for path in paths} == {*(f"{genre}.wav" for genre in GENRES), FIGURES, PAGE, PICTURE}
    figures, page = json.loads((tmp_path / FIGURES).read_text()), (tmp_path / PAGE).read_text()
    for genre in GENRES:
        sound, rate_hz = soundfile.read(tmp_path / f"{genre}.wav", dtype="float32")
        assert (rate_hz, sound.shape[1]) == (RATE_HZ, 2)
        heard = figures[genre]
        assert heard["peak_dbfs"] < -0.9
        assert 8 < heard["crest_db"] < 16
        assert heard["offset"] < 1e-4
        assert heard["onsets_per_s"] > 0.2
        assert len(heard["balance_db"]) == len(BANDS_HZ) - 1
        assert f"({genre}.wav)" in page
    assert (tmp_path / PICTURE).stat().st_size > 50_000
