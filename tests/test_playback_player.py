"""The real player process: cues, STOP, mute, volume, and the death of either side."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from realtime.errors import ConfigError, PlaybackError
from realtime.messages import Clip, Cue, Rendering
from realtime.playback import protocol
from realtime.playback.client import PlayerClient
from realtime.playback.recorder import read_played
from realtime.playback.settings import PlayerSettings
from tests.benchmarks.music_playback import soak

RATE_HZ = 48000
BEAT = RATE_HZ // 4
PATIENCE_S = 30.0


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    made = []
    for name, hz in {"a": 440.0, "b": 1320.0}.items():
        path = tmp_path / f"{name}.wav"
        tone = 0.25 * np.cos(2 * np.pi * hz * np.arange(4 * RATE_HZ) / RATE_HZ)
        soundfile.write(path, tone.astype(np.float32), RATE_HZ, subtype="FLOAT")
        made.append(Clip(name, path, bpm=240.0, duration_s=4.0))
    return made


@pytest.fixture
def settings(tmp_path: Path) -> PlayerSettings:
    return PlayerSettings(played_wav=tmp_path / "session" / "played.wav", sink="wav", volume_db=0.0, fade_s=0.1)


async def until(
    events: AsyncIterator[protocol.Event], kind: type[Any], wanted: Callable[[Any], bool] = lambda _event: True
) -> Any:
    """The next event of this kind that is the wanted one."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            if isinstance(event, kind) and wanted(event):
                return event
    raise AssertionError(f"the player ended without a {kind.__name__}")


def wait_for_end(pid: int) -> None:
    """Block until a process that need not be our child has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], PATIENCE_S)[0], "the player still runs"
    finally:
        os.close(handle)


def last_sound(frames: np.ndarray) -> int:
    return int(np.flatnonzero(frames.any(axis=1))[-1])


def test_two_cues_are_played_sample_by_sample_where_and_when_the_player_says(
    clips: list[Clip], settings: PlayerSettings
) -> None:
    async def session() -> tuple[protocol.Started, list[protocol.Sounding], Any]:
        async with await PlayerClient.start(replace(settings, lookahead_s=0.6), clips) as player:
            events = player.events()
            player.play(Cue(0, 10, "a"))
            first = await until(events, protocol.Sounding)
            player.play(Cue(1, 11, "b"))
            second = await until(events, protocol.Sounding)
            await until(events, protocol.Status, lambda status: status.frames_played > second.position + 24_000)
            return player.started, [first, second], await player.close()

    started, (first, second), summary = asyncio.run(session())
    assert [(first.cue, first.clip_id), (second.cue, second.clip_id)] == [(0, "a"), (1, "b")]
    assert (second.frame - first.frame) % BEAT == 0
    assert second.frame > first.frame
    assert second.time_s - first.time_s == pytest.approx((second.position - first.position) / RATE_HZ, abs=1e-6)
    assert first.time_s == pytest.approx(started.time_s + first.position / RATE_HZ, abs=1e-6)
    assert (summary.reason, summary.sink, summary.underruns) == ("closed", "wav", 0)
    frames = read_played(settings.played_wav).frames
    assert len(frames) == summary.frames_played
    assert np.flatnonzero(frames[:, 0])[0] == first.position
    fade = round(0.1 * RATE_HZ)
    for sounding, clip, end in ((first, clips[0], second.position), (second, clips[1], second.position + 20_000)):
        tone = soundfile.read(clip.path, dtype="float32")[0]
        heard = frames[sounding.position + fade : end]
        np.testing.assert_array_equal(heard[:, 0], np.resize(tone, end)[fade : fade + len(heard)])
        np.testing.assert_array_equal(heard[:, 0], heard[:, 1])
    assert not frames[-RATE_HZ // 50 :].any()


def test_stop_is_silence_ahead_of_what_is_queued_and_for_good(clips: list[Clip], settings: PlayerSettings) -> None:
    async def session() -> tuple[float, float]:
        async with await PlayerClient.start(replace(settings, lookahead_s=0.6), clips) as player:
            events = player.events()
            player.play(Cue(0, 0, "a"))
            await until(events, protocol.Sounding)
            player.stop()
            stopped_s = time.monotonic()
            player.mute(False)
            player.set_volume(6.0)
            player.play(Cue(1, 1, "b"))
            await until(events, protocol.Status, lambda status: status.stopped)
            await until(events, protocol.Sounding)
            return player.started.time_s, stopped_s

    start_s, stopped_s = asyncio.run(session())
    frames = read_played(settings.played_wav).frames
    silent_after_s = last_sound(frames) / RATE_HZ - (stopped_s - start_s)
    assert silent_after_s < 0.4  # the ring holds 0.6 s; 0.1 s are wanted, the rest is for a busy machine
    assert len(frames) / RATE_HZ > stopped_s - start_s + 0.5


def test_mute_silences_ahead_of_what_is_queued_and_music_goes_on_underneath(
    clips: list[Clip], settings: PlayerSettings
) -> None:
    async def session() -> tuple[protocol.Sounding, float]:
        async with await PlayerClient.start(replace(settings, lookahead_s=0.6), clips) as player:
            events = player.events()
            player.play(Cue(0, 0, "a"))
            sounding = await until(events, protocol.Sounding)
            player.mute(True)
            muted = await until(events, protocol.Status)
            muted = await until(events, protocol.Status)
            player.mute(False)
            await until(
                events, protocol.Status, lambda status: status.frames_played > muted.frames_played + RATE_HZ // 2
            )
            assert (await player.close()).underruns == 0
            return sounding, muted.frames_played

    sounding, muted_at = asyncio.run(session())
    frames = read_played(settings.played_wav).frames
    assert not frames[int(muted_at) - 1000 : int(muted_at)].any()
    back = int(muted_at) + RATE_HZ // 4
    tone = soundfile.read(clips[0].path, dtype="float32")[0]
    np.testing.assert_array_equal(
        frames[back : back + 1000, 0], np.resize(tone, back + 1000)[back - sounding.position :][:1000]
    )


def test_volume_and_refused_commands_leave_the_music_playing(clips: list[Clip], settings: PlayerSettings) -> None:
    async def session() -> None:
        async with await PlayerClient.start(settings, clips) as player:
            events = player.events()
            player.play(Cue(0, 0, "a"))
            await until(events, protocol.Sounding)
            player.set_volume(-20.0)
            player.play(Cue(1, 1, "nowhere"))
            rejected = await until(events, protocol.Rejected)
            assert rejected.cue == 1
            assert "'nowhere' is none of the player's 2 clips" in rejected.reason
            with pytest.raises(PlaybackError, match="wanted a number up to 12"):
                player.set_volume(float("nan"))
            await until(events, protocol.Status)
            quiet = await until(events, protocol.Status)
            assert quiet.peak_dbfs == pytest.approx(20 * np.log10(0.025), abs=0.1)
            player.play(Cue(2, 2, ""))
            assert (await until(events, protocol.Sounding)).clip_id == ""
            assert (await until(events, protocol.Status, lambda status: status.peak_dbfs == -200.0)).underruns == 0

    asyncio.run(session())


def test_feedback_can_make_it_softer_than_the_operator_set_it_and_never_louder(
        clips: list[Clip], settings: PlayerSettings) -> None:
    def at(level_db: float) -> Callable[[Any], bool]:
        return lambda status: abs(status.peak_dbfs - 20 * np.log10(0.25) - level_db) < 0.1

    async def session() -> None:
        async with await PlayerClient.start(replace(settings, volume_db=-6.0), clips) as player:
            events = player.events()
            player.play(Cue(0, 0, "a"))
            player.render(Rendering(-20.0))
            await until(events, protocol.Status, at(-26.0))
            player.render(Rendering(40.0))
            await until(events, protocol.Status, at(-6.0))

    asyncio.run(session())


def test_the_music_goes_on_while_the_live_program_stalls(clips: list[Clip], settings: PlayerSettings) -> None:
    def stall() -> None:
        time.sleep(0.8)  # longer than the ring: this is the fault, not a synchronisation

    async def session() -> int:
        async with await PlayerClient.start(settings, clips) as player:
            events = player.events()
            player.play(Cue(0, 0, "a"))
            sounding = await until(events, protocol.Sounding)
            stall()
            player.play(Cue(1, 1, "b"))
            await until(events, protocol.Sounding)
            return int(sounding.position)

    position = asyncio.run(session())
    heard = read_played(settings.played_wav).frames[position + 4800 : position + round(0.8 * RATE_HZ)]
    assert np.abs(heard.reshape(-1, 480 * 2)).max(axis=1).min() > 0.2  # no hole of 10 ms


PARENT = """
import asyncio, json, os, signal, sys
from pathlib import Path
from realtime.messages import Clip, Cue
from realtime.playback import protocol
from realtime.playback.client import PlayerClient
from realtime.playback.settings import PlayerSettings

async def main():
    clips = [Clip("a", Path(sys.argv[2]), bpm=240.0)]
    player = await PlayerClient.start(PlayerSettings(played_wav=Path(sys.argv[1]), volume_db=0.0, sink="wav"), clips)
    child = os.fork() if sys.argv[3] == "forked" else -1
    if child == 0:  # holds the player's pipe open until it is killed
        os.close(1)
        signal.alarm(60)
        signal.pause()
    player.play(Cue(0, 0, "a"))
    async for event in player.events():
        if isinstance(event, protocol.Sounding):
            print(json.dumps({"pid": player.pid, "child": child, "start_s": player.started.time_s}), flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("parent_kind", ["alone", "forked"])  # a forked child keeps the pipe open
def test_when_the_live_program_is_killed_the_player_fades_out_within_a_second_and_ends(
    clips: list[Clip], settings: PlayerSettings, parent_kind: str
) -> None:
    command = [sys.executable, "-c", PARENT, str(settings.played_wav), str(clips[0].path), parent_kind]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    facts = json.loads(parent.stdout.readline())
    parent.kill()
    killed_s = time.monotonic()
    parent.wait()
    parent.stdout.close()
    wait_for_end(facts["pid"])
    if facts["child"] > 0:
        os.kill(facts["child"], signal.SIGKILL)
    frames = read_played(settings.played_wav).frames
    assert soundfile.info(settings.played_wav).frames == len(frames)  # closed in order
    silent_s = last_sound(frames) / RATE_HZ - (killed_s - facts["start_s"])
    assert -0.05 < silent_s < 1.2
    assert not frames[-RATE_HZ // 50 :].any()
    assert np.abs(np.diff(frames[:, 0])).max() < 0.02  # no click: a 440 Hz tone of 0.25 steps by 0.0145


def test_when_the_player_is_killed_the_live_program_hears_of_it_and_goes_on(
    clips: list[Clip], settings: PlayerSettings
) -> None:
    async def session() -> tuple[list[protocol.Event], Any]:
        player = await PlayerClient.start(settings, clips)
        events = player.events()
        player.play(Cue(0, 0, "a"))
        await until(events, protocol.Sounding)
        await until(events, protocol.Status)
        os.kill(player.pid, signal.SIGKILL)
        last = [event async for event in events]
        assert not player.alive
        player.play(Cue(1, 1, "b"))
        player.stop()
        return last, await player.close()

    last, summary = asyncio.run(session())
    assert isinstance(last[-1], protocol.Failed)
    assert last[-1].sink == ""
    assert "died with status -9" in last[-1].reason
    assert "died with status -9" in summary.reason
    assert summary.frames_played > 0
    assert np.abs(read_played(settings.played_wav).frames).max() > 0.2
    assert soundfile.info(settings.played_wav).frames == len(read_played(settings.played_wav).frames)  # repaired


def test_the_players_own_signals_end_it_in_order_and_ctrl_c_leaves_it_to_the_live_program(
    clips: list[Clip], settings: PlayerSettings
) -> None:
    async def session() -> Any:
        async with await PlayerClient.start(settings, clips) as player:
            events = player.events()
            os.kill(player.pid, signal.SIGINT)
            player.play(Cue(0, 0, "a"))
            await until(events, protocol.Sounding)
            os.kill(player.pid, signal.SIGTERM)
            return await until(events, protocol.Ended)

    assert asyncio.run(session()).reason == "terminated"
    assert not read_played(settings.played_wav).frames[-RATE_HZ // 50 :].any()


def test_a_parent_that_reads_nothing_does_not_stop_the_sound(clips: list[Clip], settings: PlayerSettings) -> None:
    command = [sys.executable, "-m", "realtime.playback.player"]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as player:
        assert player.stdin is not None
        assert player.stdout is not None
        player.stdin.write(protocol.encode_line(protocol.Configure(settings, clips, os.getpid())))
        player.stdin.write(b'{"command":"play","cue":0,"clip_id":"a"}\n' + b'{"command":"drop table"}\n' * 3000)
        player.stdin.flush()  # 3000 refusals are more than a pipe holds
        while not settings.played_wav.exists() or not read_played(settings.played_wav).frames[RATE_HZ:].any():
            assert player.poll() is None
            time.sleep(0.05)  # a poll of the file, for at most as long as the test may take
        player.stdin.write(protocol.encode_line(protocol.Close()))
        player.stdin.close()
        events = [protocol.decode_event(line) for line in player.stdout]
    assert player.returncode == 0
    assert sum(isinstance(event, protocol.Rejected) for event in events) == 3000
    assert isinstance(events[-1], protocol.Ended)


def test_a_second_session_writes_the_next_part(clips: list[Clip], settings: PlayerSettings) -> None:
    async def session() -> Path | None:
        async with await PlayerClient.start(settings, clips) as player:
            return (await player.close()).played_wav

    assert asyncio.run(session()) == settings.played_wav
    before = settings.played_wav.read_bytes()
    assert asyncio.run(session()) == settings.played_wav.with_name("played-1.wav")
    assert settings.played_wav.read_bytes() == before


def test_the_null_sink_records_nothing(clips: list[Clip], settings: PlayerSettings) -> None:
    async def session() -> Any:
        async with await PlayerClient.start(replace(settings, sink="null"), clips) as player:
            player.play(Cue(0, 0, "a"))
            await until(player.events(), protocol.Sounding)
            return await player.close()

    summary = asyncio.run(session())
    assert (summary.sink, summary.played_wav) == ("null", None)
    assert not settings.played_wav.exists()


def test_unplayable_clips_stop_the_start_with_a_sentence(clips: list[Clip], settings: PlayerSettings) -> None:
    async def session() -> None:
        await PlayerClient.start(settings, [*clips, Clip("gone", settings.played_wav.with_name("gone.wav"))])

    with pytest.raises(PlaybackError, match="1 of 3 clips cannot be played: 'gone' cannot be read"):
        asyncio.run(session())


def test_a_folder_that_cannot_be_written_stops_the_start_with_a_sentence(
    clips: list[Clip], settings: PlayerSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    async def session() -> None:
        await PlayerClient.start(replace(settings, played_wav=tmp_path / "file" / "played.wav"), clips)

    with pytest.raises(PlaybackError, match=r"Choose a played_wav in a folder you may write to"):
        asyncio.run(session())


def test_all_settings_out_of_range_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        PlayerSettings(played_wav=tmp_path / "played.wav", volume_db=float("nan"), ceiling_dbfs=3.0, lookahead_s=0.1)
    for part in ("volume_db is nan", "ceiling_dbfs is 3.0, wanted -60 to 0", "lookahead_s is 0.1, wanted 0.3 to 5"):
        assert part in str(caught.value)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_minutes_beside_busy_cores_have_no_underrun_and_nothing_above_the_ceiling() -> None:
    figures = soak(minutes=10.0)
    assert figures["soak_underruns"]["value"] == 0
    assert figures["soak_samples_above_ceiling"]["value"] == 0
    assert figures["soak_true_peak_over_ceiling_db"]["value"] <= 0.1
