"""The session listens to what it really plays, and says how near that is to what was chosen and decoded."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from offline_training.corpus import index_corpus
from offline_training.corpus_composed import CorpusSettings, build_corpus
from offline_training.embedders import SHIPPED, open_embedder
from realtime.music.catalogue import Catalogue, read_catalogue
from realtime.playback.recorder import WavRecorder, read_last
from realtime.session.checks import summarise_checks
from realtime.session.folder import SessionFolder
from realtime.session.self_check import SelfCheck, dismiss
from tests.loopback import free_endpoint
from tests.processes import command, finish, live_command, make_world, running, until

RATE_HZ = 48000
EMBEDDER = SHIPPED / "embedder-synth-128"


@dataclass
class Told:
    """Takes the findings and the alarms."""

    found: list[dict[str, Any]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    def self_check(self, found: dict[str, Any], attempt: int) -> None:
        self.found.append({"attempt": attempt, "self_check": found})

    def alarm(self, text: str, severity: str = "") -> None:
        self.alarms.append(text)

    alarm_once = alarm


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder = tmp_path_factory.mktemp("corpus") / "made"
    build_corpus(folder, CorpusSettings(1, 0, duration_s=10.0))
    index_corpus(folder, open_embedder("synth-128"))
    return read_catalogue(folder)


def record(path: Path, corpus: Catalogue, clip_id: str) -> None:
    WavRecorder(path, RATE_HZ).close()
    sound, _ = soundfile.read(corpus.clip(clip_id).path, dtype="float32", always_2d=True)
    with path.open("ab") as file:
        file.write((0.25 * sound[: 10 * RATE_HZ]).astype("<f4").tobytes())


def check(corpus: Catalogue, folder: Path, plays: str, chosen: str, seconds: float = 20.0,
          embedder: Path = EMBEDDER, times: int = 1) -> Told:
    record(folder / "played.wav", corpus, plays)
    told = Told()
    player = SimpleNamespace(recording=folder / "played.wav", records_as_asked=True)
    sounding = SimpleNamespace(sounding=chosen, sounding_for_s=seconds, player=player, telling=told,
                               decoded=corpus.embedding(chosen))

    async def ask() -> None:
        listener = SelfCheck(embedder, corpus, sounding, lambda: 3)  # type: ignore[arg-type]
        process = await listener._spawn()
        try:
            for _ in range(times):
                await listener.ask(process)
        finally:
            await dismiss(process)

    asyncio.run(ask())
    return told


def test_the_clip_that_was_chosen_is_heard_and_another_is_not(corpus: Catalogue, tmp_path: Path) -> None:
    names = [clip.clip_id for clip in corpus.clips]
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.mkdir()
    wrong.mkdir()
    same = check(corpus, right, names[0], names[0], times=2)
    other = check(corpus, wrong, names[5], names[0])
    assert [entry["attempt"] for entry in same.found] == [3, 3]
    heard, missed = same.found[0]["self_check"], other.found[0]["self_check"]
    assert heard["to_chosen"] > 0.98  # four times as quiet: loudness tells nothing
    assert heard["to_decoded"] > 0.9
    assert missed["to_chosen"] < heard["to_chosen"] - 0.1
    assert missed["to_decoded"] < 0.5
    assert summarise_checks([*same.found, {"cue": 1}])["n"] == 2
    assert summarise_checks([])["to_chosen"] is None


def test_a_clip_that_has_just_begun_is_not_judged_and_trouble_is_told(corpus: Catalogue, tmp_path: Path) -> None:
    names = [clip.clip_id for clip in corpus.clips]
    assert check(corpus, tmp_path, names[0], names[0], seconds=2.0).found == []
    (tmp_path / "played.wav").unlink()
    gone = Catalogue(corpus.space, corpus.clips, np.array([corpus.embedding(name) for name in names]), corpus.centre)
    path = corpus.clip(names[1]).path
    kept = path.read_bytes()
    path.unlink()
    try:
        told = check(gone, tmp_path, names[0], names[1])
    finally:
        path.write_bytes(kept)
    assert told.found == []
    assert "could not be checked" in told.alarms[0]


def test_an_ear_that_dies_is_told_once_and_ends_nothing(
        corpus: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.session.self_check.PERIOD_S", 0.01)
    told = Told()
    player = SimpleNamespace(recording=tmp_path / "played.wav", records_as_asked=True)
    sounding = SimpleNamespace(sounding=corpus.clips[0].clip_id, sounding_for_s=20.0, player=player, telling=told,
                               decoded=None)
    listener = SelfCheck(tmp_path / "nothing", corpus, sounding, lambda: 1)  # type: ignore[arg-type]
    asyncio.run(listener.run())
    assert len(told.alarms) == 1
    assert "nobody checks what is played any more" in told.alarms[0]


def test_the_end_of_a_recording_is_read_while_it_grows(corpus: Catalogue, tmp_path: Path) -> None:
    record(tmp_path / "played.wav", corpus, corpus.clips[0].clip_id)
    last = read_last(tmp_path / "played.wav", 2.0)
    assert last.frames.shape == (2 * RATE_HZ, 2)
    assert last.rate_hz == RATE_HZ
    assert len(read_last(tmp_path / "played.wav", 100.0).frames) == 10 * RATE_HZ


@pytest.mark.long
def test_a_live_session_checks_itself_and_keeps_what_it_found(tmp_path: Path) -> None:
    world, session, endpoint = make_world(tmp_path, 40), tmp_path / "session", free_endpoint()
    config = tmp_path / "live.toml"
    config.write_text(f'self_check = "{EMBEDDER}"\n[selection]\ngenre_odds = 1e9\nclip_odds = 1e9\n')
    folder = SessionFolder(session)
    with running(live_command(world, session, endpoint, "--config", config)) as program:
        until(lambda: folder.played.exists(), "the player has started")
        with running(command("bridge", "serve", world.run, "--connect", endpoint, "--speed", "1")) as bridge:
            finish(bridge)
            finish(program)
    found = json.loads(folder.summary.read_text())["self_check"]
    assert found["n"] >= 1
    assert found["to_chosen"] > 0.9  # the clips are two seconds long, what is heard of them begins anywhere
    assert found["to_decoded"] is None  # the session's space is another than the ear's
