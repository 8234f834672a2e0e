"""What a session decoded, retrieved and played, held against what was heard."""

import base64
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from offline_training.__main__ import app
from offline_training.corpus_composed import CorpusSettings, make_corpus
from offline_training.embedders import open_scorer
from offline_training.errors import DatasetError
from offline_training.kernel_distance import SCALE, kernel_distance
from offline_training.played_music import Stretch, judge, judged_trials, played_stretches
from offline_training.report_music import session_music
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.playback.recorder import WavRecorder, read_played
from realtime.session.folder import SessionFolder
from realtime.session.record import encode_vector

TRIAL_S = 10.0
RATE_HZ = 48000


def naive_distance(reference: np.ndarray, music: np.ndarray) -> float:
    """Pair by pair, from the definition."""
    pairs = [np.linalg.norm(a - b) for k, a in enumerate(reference) for b in reference[:k]]
    width = np.median(pairs)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-np.sum((a - b) ** 2) / (2 * width**2)))

    def among(rows: np.ndarray) -> float:
        return float(np.mean([kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]))

    across = float(np.mean([kernel(a, b) for a in reference for b in music]))
    return SCALE * (among(reference) + among(music) - 2 * across)


@given(st.integers(0, 2**32), st.integers(3, 8), st.integers(2, 8))
def test_the_kernel_distance_is_its_naive_twins(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    n = n if n * (n - 1) // 2 % 2 else 3  # with an odd number of pairs the median's square is the squares' median
    reference, music = rng.standard_normal((n, 4)), rng.standard_normal((m, 4)) + 0.5
    assert kernel_distance(reference, music, 10).value == pytest.approx(naive_distance(reference, music), abs=1e-9)


def test_sets_of_one_kind_are_within_chance_as_often_as_chance_says_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    below = [kernel_distance(rng.standard_normal((30, 8)), rng.standard_normal((20, 8)), 200, seed).p_value <= 0.05
             for seed in range(60)]
    assert sum(below) <= 9  # 3 expected; more than 9 of 60 has probability 0.001
    apart = kernel_distance(rng.standard_normal((30, 8)), rng.standard_normal((20, 8)) + 1.0, 200)
    assert apart.value > apart.permuted_p95
    assert apart.p_value < 0.01


def test_sets_that_have_no_distance_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two rows each"):
        kernel_distance(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="finite"):
        kernel_distance(np.full((3, 3), np.nan), np.zeros((4, 3)))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    made = make_corpus(tmp_path_factory.mktemp("corpus"), CorpusSettings(1, 0, duration_s=10.0), dim=8)
    return read_catalogue(made.folder)


def write_session(path: Path, corpus: Catalogue, retrieved: list[str], records: bool = True) -> Path:
    """A session that heard every clip, retrieved these and played them for the ten seconds after each decision."""
    folder, heard = SessionFolder(path), [clip.clip_id for clip in corpus.clips]
    path.mkdir()
    trials = [{"trial": k, "onset_s": TRIAL_S * k, "duration_s": TRIAL_S, "clip_id": name, "genre": "",
               "is_dummy": False} for k, name in enumerate(heard)]
    record = [{"doc": "start", "run": {"run_id": "r", "tr_s": 1.0}, "trials": trials}]
    record += [{"doc": "step", "volume": k, "trial": k, "status": "OK", "top": [{"clip_id": name}],
                "embedding": encode_vector(corpus.embedding(name))} for k, name in enumerate(retrieved)]
    timing = [{"attempt": 1, "volume": k, "due_s": 99.0 + TRIAL_S * k, "decided_s": 100.0 + TRIAL_S * k}
              for k in range(len(heard))]
    timing += [{"attempt": 1, "cue": k, "volume": k, "clip_id": name, "sound_s": 100.0 + TRIAL_S * k,
                "position": round(TRIAL_S * RATE_HZ) * k} for k, name in enumerate(retrieved)]
    for file, rows in ((folder.record, record), (folder.timing, timing)):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if records:
        WavRecorder(folder.played, RATE_HZ).close()  # its header; the frames at once, which no tape could hold
        with folder.played.open("ab") as file:
            for name in retrieved:
                sound, _ = soundfile.read(corpus.clip(name).path, dtype="float32", always_2d=True)
                file.write(sound[: round(TRIAL_S * RATE_HZ)].astype("<f4").tobytes())
        tick = {"position": 48000, "time_s": 101.0, "unix_s": 0.0, "latency_s": 0.0, "drift_ppm": None, "dose": None}
        folder.played.with_suffix(".clock.jsonl").write_text(json.dumps(tick) + "\n")
    return path


def test_what_was_retrieved_and_played_right_is_recognised_by_an_embedder_that_chose_nothing(
        corpus: Catalogue, tmp_path: Path) -> None:
    heard = [clip.clip_id for clip in corpus.clips]
    figures = judge(write_session(tmp_path / "s", corpus, heard), corpus, open_scorer("scorer-64"))
    assert (figures["scorer"], figures["generator"]) == ("scorer-64", "retrieval")
    assert (figures["n_trials"], figures["n_there"]) == (10, 10)
    sources = figures["sources"]
    assert sources["decoded"]["identification"]["value"] == 1.0
    assert sources["decoded"]["space"] == corpus.space.name
    for name in ("retrieved", "played"):
        for measure in ("identification", "genre", "lead", "mood"):
            assert sources[name][measure]["value"] >= 0.9, (name, measure)
            assert sources[name][measure]["null"]["p95"] < sources[name][measure]["value"]
        assert sources[name]["identification"]["null"]["p_value"] < 0.01
        assert sources[name]["kernel_distance"]["value"] <= sources[name]["kernel_distance"]["permuted_p95"]


def test_other_music_than_was_heard_scores_like_chance(corpus: Catalogue, tmp_path: Path) -> None:
    heard = [clip.clip_id for clip in corpus.clips]
    sources = judge(write_session(tmp_path / "s", corpus, heard[3:] + heard[:3]), corpus,
                    open_scorer("scorer-64"))["sources"]
    for card in sources.values():
        assert card["identification"]["value"] < card["identification"]["null"]["p95"]
        assert card["identification"]["null"]["p_value"] > 0.05
    for name in ("retrieved", "played"):
        assert sources[name]["genre"]["value"] < 0.4


def test_without_a_recording_the_rest_is_judged_and_without_trials_nothing(corpus: Catalogue, tmp_path: Path) -> None:
    heard = [clip.clip_id for clip in corpus.clips]
    session = write_session(tmp_path / "s", corpus, heard, records=False)
    shown = CliRunner().invoke(app, ["corpus", "judge", str(session), "--catalogue",
                                     str(corpus.clips[0].path.parents[1]), "--json", str(tmp_path / "f.json")])
    assert shown.exit_code == 0, shown.output
    assert set(json.loads((tmp_path / "f.json").read_text())["sources"]) == {"decoded", "retrieved"}
    with pytest.raises(DatasetError, match="two different clips at least"):
        judge(write_session(tmp_path / "t", corpus, []), corpus, open_scorer("scorer-64"))


def test_a_clip_counts_from_its_first_sample_to_the_next_ones_and_made_music_from_before_the_last_condition(
        corpus: Catalogue, tmp_path: Path) -> None:
    heard = [clip.clip_id for clip in corpus.clips]
    folder = SessionFolder(write_session(tmp_path / "s", corpus, heard))
    frames = read_played(folder.played).frames
    trials = [replace(trial, volume=3 * trial.number + 2, decided_s=107.0 + TRIAL_S * trial.number)
              for trial in judged_trials(folder, corpus)]
    # each trial decides three times; its music changes after the first, 2 s into its ten seconds, and stays
    changes = [(3 * k + 1, round((TRIAL_S * k + 2.0) * RATE_HZ)) for k in range(10)]

    def rewrite(entries: list[dict[str, object]]) -> list[Stretch]:
        folder.timing.write_text("".join(json.dumps({"attempt": 1} | entry) + "\n" for entry in entries))
        return played_stretches(folder, trials)

    clips = rewrite([{"cue": k, "volume": volume, "position": at} for k, (volume, at) in enumerate(changes)])
    assert np.array_equal(clips[0].frames, frames[2 * RATE_HZ : 12 * RATE_HZ])
    assert len(clips[9].frames) == len(frames) - 92 * RATE_HZ  # to where the recording ends
    changes += [(3 * k + 2, round((TRIAL_S * k + 8.0) * RATE_HZ)) for k in range(10)]
    made = rewrite([{"condition": k, "volume": volume, "position": at} for k, (volume, at) in enumerate(changes)])
    assert np.array_equal(made[0].frames, frames[3 * RATE_HZ : 12 * RATE_HZ])
    assert [len(stretch.frames) for stretch in rewrite([])] == [0] * 10


def test_no_embedder_judges_what_it_chose_itself(corpus: Catalogue, tmp_path: Path) -> None:
    scorer = open_scorer("scorer-64")
    own = Catalogue(scorer.space, corpus.clips, np.zeros((len(corpus.clips), scorer.space.dim), np.float32),
                    np.zeros(scorer.space.dim, np.float32))
    with pytest.raises(DatasetError, match="would judge what it chose itself"):
        judge(write_session(tmp_path / "s", corpus, [clip.clip_id for clip in corpus.clips]), own, scorer)


def test_the_report_judges_what_was_played_and_holds_it_to_listen_to(corpus: Catalogue, tmp_path: Path) -> None:
    heard = [clip.clip_id for clip in corpus.clips]
    session = write_session(tmp_path / "s", corpus, heard)
    (session / "session.json").write_text(json.dumps({"catalogue": str(corpus.clips[0].path.parents[1])}))
    music = session_music(session, None, "scorer-64")
    assert [row[0] for row in music.part.table.rows if "identification" in row[0]] == [
        "decoded, identification", "retrieved, identification", "played, identification"]
    assert "made by retrieval" in music.part.text
    assert len(music.sounds) == 10
    assert music.picture.startswith("data:image/png")
    for k, sound in enumerate(music.sounds):
        assert f"trial {k}: heard {heard[k]}" in sound.label
        samples, rate_hz = soundfile.read(BytesIO(base64.b64decode(sound.address.split(",")[1])))
        assert (samples.ndim, rate_hz, len(samples)) == (1, 24000, 144000)
        clip, _ = soundfile.read(corpus.clip(heard[k]).path, always_2d=True)
        assert np.corrcoef(clip.mean(axis=1)[:288000:2], samples)[0, 1] > 0.8  # its own clip, without what 24 kHz lacks


def test_a_session_whose_music_is_gone_is_reported_with_the_reason(corpus: Catalogue, tmp_path: Path) -> None:
    session = write_session(tmp_path / "s", corpus, [clip.clip_id for clip in corpus.clips])
    nameless = session_music(session, None, "scorer-64")
    assert "does not say which catalogue it played" in nameless.part.text
    assert (nameless.sounds, nameless.picture) == ((), "")
    gone = session_music(session, tmp_path / "gone", "scorer-64")
    assert "no catalogue in" in gone.part.text
