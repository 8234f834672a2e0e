"""STOP by its own way in: the live program dead or alive, the player well or hung; held until it is taken back."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from realtime.errors import ConfigError, PlaybackError
from realtime.messages import Clip, Cue
from realtime.playback import protocol
from realtime.playback.calibration import Calibration, read_calibration, write_calibration
from realtime.playback.client import PlayerClient
from realtime.playback.halt import halt, rearm
from realtime.playback.lasting import LastingPlayer
from realtime.playback.latch import Latch
from realtime.playback.monitor import clock_file, dose_before, read_ticks
from realtime.playback.recorder import read_played
from realtime.playback.settings import PlayerSettings
from realtime.sound import app
from realtime.stop import app as stop
from tests.test_playback_player import PARENT
from tests.test_playback_streams import HZ, until


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    path = tmp_path / "a.wav"
    tone = 0.25 * np.cos(2 * np.pi * 1000.0 * np.arange(2 * HZ) / HZ)
    soundfile.write(path, tone.astype(np.float32), HZ, subtype="FLOAT")
    return Clip("a", path, bpm=240.0, duration_s=2.0)


@pytest.fixture
def settings(tmp_path: Path) -> PlayerSettings:
    return PlayerSettings(played_wav=tmp_path / "session" / "played.wav", sink="wav", volume_db=0.0, fade_s=0.1)


def good_calibration(db_spl_at_0dbfs: float = 100.0) -> Calibration:
    return Calibration("card", "model 1", db_spl_at_0dbfs, HZ, [1.0], [1.0], "2026-11-21", "somebody")


def test_stop_comes_by_the_door_and_holds_for_later_players_until_rearmed(clip: Clip, settings: PlayerSettings) -> None:
    async def first() -> None:
        async with await PlayerClient.start(settings, [clip]) as player:
            events = player.events()
            player.play(Cue(0, 0, "a"))
            await until(events, protocol.Sounding)
            assert await asyncio.to_thread(halt, settings.played_wav) == "the player obeyed"
            await until(events, protocol.Status, lambda status: status.stopped)

    async def second() -> None:
        async with await PlayerClient.start(settings, [clip]) as player:
            events = player.events()
            player.play(Cue(0, 0, "a"))
            await until(events, protocol.Sounding)
            status = await until(events, protocol.Status)
            assert status.stopped
            assert not read_played(Path(player.started.played_wav)).frames.any()
            assert await asyncio.to_thread(rearm, settings.played_wav) == "the player obeyed"
            await until(events, protocol.Status, lambda status: not status.stopped and status.peak > 0.2)

    asyncio.run(first())
    assert Latch(settings.played_wav).held
    asyncio.run(second())
    assert not Latch(settings.played_wav).held


def test_stop_works_when_the_live_program_hangs(
    clip: Clip, settings: PlayerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", PARENT, str(settings.played_wav), str(clip.path), "alone"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        json.loads(parent.stdout.readline())  # it plays
        parent.send_signal(signal.SIGSTOP)
        stop([str(settings.played_wav.parent)], "innerear stop")
        assert capsys.readouterr().out == "stopped: the player obeyed\n"
        parent.kill()
        parent.send_signal(signal.SIGCONT)


def test_a_player_that_hangs_is_killed_by_stop(clip: Clip, settings: PlayerSettings) -> None:
    async def session() -> None:
        async with await PlayerClient.start(settings, [clip]) as player:
            os.kill(player.pid, signal.SIGSTOP)
            assert "was killed" in await asyncio.to_thread(halt, settings.played_wav)
            events = [event async for event in player.events()]
            assert isinstance(events[-1], protocol.Failed)

    asyncio.run(session())
    assert Latch(settings.played_wav).held


def test_a_disk_that_takes_its_time_neither_holds_stop_up_nor_costs_the_player_its_life(
    clip: Clip, settings: PlayerSettings
) -> None:
    async def session() -> None:
        async with await PlayerClient.start(settings, [clip]) as player:
            events = player.events()
            latch = Latch(settings.played_wav).path
            os.mkfifo(latch)  # to write there takes until somebody reads
            assert await asyncio.to_thread(halt, settings.played_wav) == "the player obeyed"
            await until(events, protocol.Status, lambda status: status.stopped)
            assert player.alive
            assert await asyncio.to_thread(latch.read_text) == "the operator\n"
            assert await asyncio.to_thread(rearm, settings.played_wav) == "the player obeyed"
            await until(events, protocol.Status, lambda status: not status.stopped)
            assert not latch.exists()

    asyncio.run(session())


def test_a_folder_that_takes_no_latch_or_keeps_it_is_told_and_stop_and_rearm_act(
    clip: Clip, settings: PlayerSettings
) -> None:
    async def session() -> None:
        async with await PlayerClient.start(settings, [clip]) as player:
            events = player.events()
            Latch(settings.played_wav).path.mkdir()  # nobody can write or remove a file of that name
            player.stop()
            assert "STOP holds, but only in this player" in (await until(events, protocol.Failed)).reason
            await until(events, protocol.Status, lambda status: status.stopped)
            player.rearm()
            assert "the next player will be silent" in (await until(events, protocol.Failed)).reason
            await until(events, protocol.Status, lambda status: not status.stopped)

    asyncio.run(session())


def test_a_player_that_does_not_answer_is_not_killed_for_being_rearmed(
    clip: Clip, settings: PlayerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.playback.halt.PATIENCE_S", 0.2)

    async def session() -> None:
        async with await PlayerClient.start(settings, [clip]) as player:
            events = player.events()
            await until(events, protocol.Status)
            os.kill(player.pid, signal.SIGSTOP)
            assert "did not answer within 0.2 s" in await asyncio.to_thread(rearm, settings.played_wav)
            os.kill(player.pid, signal.SIGCONT)
            await until(events, protocol.Status, lambda status: not status.stopped)

    asyncio.run(session())


def test_a_player_that_hangs_is_noticed_and_replaced(
    clip: Clip, settings: PlayerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.playback.client.HUNG_AFTER_S", 1.0)

    async def session() -> None:
        player = await LastingPlayer.start(settings, [clip])
        events = player.events()
        player.play(Cue(0, 0, "a"))
        await until(events, protocol.Sounding)
        os.kill(player._player.pid, signal.SIGSTOP)
        assert "hung" in (await until(events, protocol.Failed)).reason
        await until(events, protocol.Started)
        assert (await until(events, protocol.Sounding)).clip_id == "a"
        await player.close()

    asyncio.run(session())


def test_stop_where_nothing_plays_holds_for_what_will(
    settings: PlayerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.played_wav.parent.mkdir()
    runner, folder = CliRunner(), str(settings.played_wav.parent)
    stop([folder], "innerear stop")
    assert capsys.readouterr().out == "stopped: no player runs there\n"
    assert Latch(settings.played_wav).held
    assert runner.invoke(app, ["rearm", folder]).exit_code == 0
    assert not Latch(settings.played_wav).held
    for arguments, status in (([folder + "/nowhere"], 1), ([], 2), (["--help"], 0)):
        with pytest.raises(SystemExit) as ended:
            stop(arguments, "innerear stop")
        assert ended.value.code == status


def test_a_scanner_session_without_calibration_is_refused(settings: PlayerSettings) -> None:
    with pytest.raises(ConfigError, match=r"without a calibration.*innerear sound calibrate"):
        replace(settings, mode="scanner")


def test_a_scanner_session_has_its_ceiling_and_its_dose_at_the_ear(clip: Clip, settings: PlayerSettings) -> None:
    calibration = settings.played_wav.with_name("ear.json")
    calibration.parent.mkdir()
    write_calibration(calibration, good_calibration(db_spl_at_0dbfs=140.0))
    loud = replace(settings, mode="scanner", calibration=calibration, loudest_db_spl=110.0, dose_criterion_dba=60.0)

    async def session() -> tuple[protocol.Status, protocol.Failed]:
        async with await PlayerClient.start(loud, [clip]) as player:
            events = player.events()
            player.play(Cue(0, 0, "a"))
            status = await until(events, protocol.Status, lambda status: status.short_term_lufs > -60)
            used_up = await until(events, protocol.Failed)
            await until(events, protocol.Status, lambda status: status.stopped)
            return status, used_up

    status, used_up = asyncio.run(session())
    # the tone would be 128 dB; the ceiling lets 110 through, a day's dose at 60 dB(A) in 0.3 s
    assert status.level_dba is not None
    assert status.level_dba < 110.0
    assert "day's dose" in used_up.reason
    assert np.abs(read_played(settings.played_wav).frames).max() <= 10 ** (-30 / 20)
    assert dose_before(settings.played_wav) >= 1.0
    assert Latch(settings.played_wav).held


def test_the_clock_of_a_recording_is_kept_beside_it(clip: Clip, settings: PlayerSettings) -> None:
    async def session() -> protocol.Started:
        async with await PlayerClient.start(settings, [clip]) as player:
            events = player.events()
            for _ in range(3):
                await until(events, protocol.Status)
            return player.started

    started = asyncio.run(session())
    ticks = read_ticks(settings.played_wav)
    assert len(ticks) >= 3
    for tick in ticks:
        assert tick.time_s - started.time_s == pytest.approx(tick.position / HZ, abs=1e-6)
        assert tick.unix_s > 1.6e9
        assert tick.dose is None
    with clock_file(settings.played_wav).open("ab") as file:
        file.write(b'{"position": 12')  # cut off by a kill
    assert read_ticks(settings.played_wav) == ticks


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "is damaged"),
        (b"{}", "missing required field"),
        (b"[1]", "is damaged"),
        (b'{"device": 3}', "is damaged"),
    ],
)
def test_a_damaged_calibration_is_refused_with_a_sentence(tmp_path: Path, content: bytes, wanted: str) -> None:
    (tmp_path / "ear.json").write_bytes(content)
    with pytest.raises(PlaybackError, match=f"{wanted}.*innerear sound calibrate"):
        read_calibration(tmp_path / "ear.json")
    with pytest.raises(PlaybackError, match="cannot be read"):
        read_calibration(tmp_path / "none.json")


def test_an_impossible_calibration_is_refused_with_all_its_problems(tmp_path: Path) -> None:
    bad = Calibration("", "x", 300.0, HZ, [1.0, 2.0], [1.0], "yesterday", " ")
    with pytest.raises(PlaybackError) as caught:
        write_calibration(tmp_path / "ear.json", bad)
    for part in ("device is empty", "db_spl_at_0dbfs is 300", "2 and 1 taps", "'yesterday'", "measured_by is empty"):
        assert part in str(caught.value)


def test_a_calibration_is_made_from_what_the_meter_showed(tmp_path: Path) -> None:
    taps = np.array([0.5, 0.25])
    np.save(tmp_path / "left.npy", taps)
    soundfile.write(tmp_path / "right.wav", taps, HZ, subtype="DOUBLE")
    command = ["calibrate", str(tmp_path / "ear.json"), "--device", "card", "--headphones", "S15 no. 7"]
    more = ["--measured-by", "me", "--tone-db-spl", "72.5", "--tone-dbfs", "-40"]
    ears = ["--eq-left", str(tmp_path / "left.npy"), "--eq-right", str(tmp_path / "right.wav")]
    done = CliRunner().invoke(app, [*command, *more, *ears])
    assert done.exit_code == 0, done.output
    made = read_calibration(tmp_path / "ear.json")
    assert made.db_spl_at_0dbfs == pytest.approx(112.5)
    np.testing.assert_array_equal(made.taps, [taps, taps])
    assert CliRunner().invoke(app, [*command, *more, *ears[:2]]).exit_code == 1


def test_the_test_tone_has_the_level_that_was_asked_for(tmp_path: Path) -> None:
    write_calibration(tmp_path / "ear.json", good_calibration(110.0))
    done = CliRunner().invoke(
        app, ["test", str(tmp_path / "out"), "--level-dbfs", "-30", "--duration-s", "1.2", "--sink", "wav",
              "--calibration", str(tmp_path / "ear.json")]
    )
    assert done.exit_code == 0, done.output
    assert "peak -30.0 dBFS, 80.0 dB(A) at the ear" in done.output
