"""The bars of playback: one function each, a key per bar with its value, n and unit; `innerear bench playback`."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy import signal as dsp

from realtime.messages import Clip, Cue
from realtime.playback import protocol
from realtime.playback.address import connect_unix
from realtime.playback.client import PlayerClient
from realtime.playback.feed import StreamFeed
from realtime.playback.halt import in_a_hurry
from realtime.playback.recorder import read_played
from realtime.playback.safety import ChainSettings, SafetyChain, warm_up
from realtime.playback.settings import RATE_HZ, PlayerSettings
from realtime.playback.streams import ChunkHeader
from tests.playback_fuzz import fuzz

Figures = dict[str, dict[str, Any]]
CEILING_DBFS = -3.0
CHUNK = RATE_HZ // 4  # an eighth note at 120 beats a minute
ROOT = Path(__file__).resolve().parents[2]


def _spin() -> None:
    while os.getppid() != 1:
        pass


@contextlib.contextmanager
def busy_cores() -> Iterator[int]:
    """Each core has a process that never rests."""
    hogs = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for hog in hogs:
        hog.start()
    try:
        yield len(hogs)
    finally:
        for hog in hogs:
            hog.kill()
            hog.join()


def _music(folder: Path, level: float) -> list[Clip]:
    """Loops of broadband sound with beats, as loud as asked."""
    rng, clips = np.random.default_rng(0), []
    for name in "abcd":
        beats = np.exp(-np.arange(4 * RATE_HZ) % (RATE_HZ // 2) / (0.1 * RATE_HZ))
        sound = level * beats[:, None] * rng.standard_normal((4 * RATE_HZ, 2))
        soundfile.write(folder / f"{name}.wav", sound.astype(np.float32), RATE_HZ, subtype="FLOAT")
        clips.append(Clip(name, folder / f"{name}.wav", bpm=120.0))
    return clips


def chain_load(seconds: int = 60) -> Figures:
    """Processor time of the whole chain with an equaliser of 512 taps, as a share of the time that the sound lasts."""
    warm_up()
    rng, figures = np.random.default_rng(0), {}
    for name, level in (("quiet", 0.02), ("limited", 1.0)):
        chain = SafetyChain(ChainSettings(RATE_HZ, 0.0, CEILING_DBFS, eq_taps=rng.normal(0, 0.03, (2, 512))))
        block = (level * rng.standard_normal((480, 2))).astype(np.float32)
        shares = []
        for _ in range(seconds):
            begin = time.process_time()
            for _ in range(100):
                chain.process(block)
            shares.append(100.0 * (time.process_time() - begin))
        figures[f"chain_{name}_core_percent"] = {"value": float(np.median(shares)), "unit": "% of a core, median",
                                                 "min": min(shares), "n": seconds, "bar": 5.0}
    return figures


def soak(minutes: float = 10.0) -> Figures:
    """Far too loud music for ten minutes beside busy cores, a cue every two seconds: underruns, ceiling violations."""
    with tempfile.TemporaryDirectory() as folder, busy_cores():
        clips = _music(Path(folder), level=2.0)
        settings = PlayerSettings(played_wav=Path(folder) / "played.wav", sink="wav", volume_db=0.0,
                                  ceiling_dbfs=CEILING_DBFS)
        summary = asyncio.run(_soak(settings, clips, minutes))
        frames = read_played(settings.played_wav).frames
    ceiling = 10 ** (CEILING_DBFS / 20)
    true_peak = max(float(np.abs(dsp.resample_poly(part.astype(np.float64), 8, 1, axis=0)[800:-800]).max())
                    for part in np.array_split(frames, max(1, len(frames) // RATE_HZ)))
    about = {"n": len(frames), "unit": "in so many frames"}
    return {"soak_underruns": {"value": summary.underruns, "bar": 0, **about},
            "soak_samples_above_ceiling": {"value": int((np.abs(frames) > ceiling).sum()), "bar": 0, **about},
            "soak_true_peak_over_ceiling_db": {"value": 20 * float(np.log10(true_peak / ceiling)), "bar": 0.1, **about}}


async def _soak(settings: PlayerSettings, clips: list[Clip], minutes: float) -> Any:
    async with await PlayerClient.start(settings, clips) as player:
        for number in range(round(minutes * 30)):
            player.play(Cue(number, number, clips[number % len(clips)].clip_id))
            await asyncio.sleep(2.0)
        return await player.close()


PARENT = """
import asyncio, json, sys
from pathlib import Path
from realtime.messages import Clip, Cue
from realtime.playback import protocol
from realtime.playback.client import PlayerClient
from realtime.playback.settings import PlayerSettings

async def main():
    settings = PlayerSettings(played_wav=Path(sys.argv[1]), sink="wav", volume_db=0.0)
    player = await PlayerClient.start(settings, [Clip("a", Path(sys.argv[2]), bpm=120.0)])
    player.play(Cue(0, 0, "a"))
    async for event in player.events():
        if isinstance(event, protocol.Sounding):
            print(player.started.door, flush=True)

asyncio.run(main())
"""


def stop_to_zero(n_stops: int = 1000, *, hurried: bool = True) -> Figures:
    """From sending STOP to the player's door until all that leaves is zeros; the live program is stopped dead.

    A hurried sender asks for real-time priority, as `innerear stop` does; an ordinary one waits for the busy cores.
    """
    rng, taken_ms = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        clip = _music(Path(folder), level=0.2)[0]
        command = [sys.executable, "-c", PARENT, str(Path(folder) / "played.wav"), str(clip.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
            assert parent.stdout is not None
            door = Path(parent.stdout.readline().strip())
            parent.send_signal(signal.SIGSTOP)
            with busy_cores(), in_a_hurry() if hurried else contextlib.nullcontext():
                for _ in range(n_stops):
                    time.sleep(rng.uniform(0.03, 0.08))
                    stopped_s = time.monotonic()
                    _tell(door, protocol.Stop())
                    time.sleep(0.1)
                    silent_s = _tell(door, protocol.Rearm()).silent_s
                    taken_ms.append(1e3 * (silent_s - stopped_s) if silent_s > stopped_s else float("inf"))
            parent.kill()
    name = "stop_to_zero_ms" if hurried else "stop_to_zero_ordinary_sender_ms"
    return {name: {"value": float(np.percentile(taken_ms, 99.9)), "unit": "ms p99.9", "n": n_stops,
                   "median": float(np.median(taken_ms)), "max": max(taken_ms), "bar": 25.0}}


def _tell(door: Path, command: protocol.Command) -> Any:
    with connect_unix(door, 5.0) as connection:
        connection.sendall(protocol.encode_line(command))
        return protocol.decode_event(connection.recv(4096))


def condition_to_audible(n_changes: int = 200) -> Figures:
    """From a new condition at the producer to its first sample leaving the ring; chunks of a quarter second."""
    rng, taken_s = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        settings = PlayerSettings(played_wav=Path(folder) / "played.wav", sink="wav")

        async def changes() -> int:
            async with await PlayerClient.start(settings, []) as player:
                newest, ending = [0], threading.Event()
                producer = threading.Thread(target=_produce, args=(Path(player.started.door), newest, ending))
                producer.start()
                await asyncio.sleep(0.2)
                player.play_stream(Cue(0, 0, ""), "noise")
                events = player.events()
                for number in range(1, n_changes + 1):
                    await asyncio.sleep(rng.uniform(0.0, 0.25))
                    changed_s, newest[0] = time.monotonic(), number
                    async for event in events:
                        if isinstance(event, protocol.Conditioned) and event.condition == number:
                            taken_s.append(event.time_s - changed_s)
                            break
                ending.set()
                producer.join()
                return (await player.close()).underruns

        underruns = asyncio.run(changes())
    return {"condition_to_audible_s": {"value": float(np.median(taken_s)), "unit": "s median", "n": len(taken_s),
                                       "p95": float(np.percentile(taken_s, 95)), "underruns": underruns,
                                       "bar": 0.45, "bar_p95": 0.6}}


def _produce(door: Path, newest: list[int], ending: threading.Event) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, (CHUNK, 2)).astype(np.float32)
    with StreamFeed(door, "noise", RATE_HZ) as feed:
        while not ending.is_set():
            if feed.wait_until_wanted(0.1) is not None:
                feed.send(ChunkHeader(newest[0], CHUNK, beat_frames=RATE_HZ / 2), noise)


def fuzzed(n_blocks: int = 10_000_000) -> Figures:
    """Blocks of every kind through the compiled chain; a library's filter judges the true peaks."""
    done = fuzz(n_blocks, seed=1)
    about = {"n": done.blocks, "unit": "blocks", "not_finite_in": done.bad_blocks}
    return {"fuzz_not_finite_out": {"value": done.not_finite, "bar": 0, **about},
            "fuzz_samples_above_ceiling": {"value": done.above_ceiling, "bar": 0, **about},
            "fuzz_true_peak_over_ceiling_db": {"value": done.true_peak_over_db, "bar": 0.1, **about}}


def both_stops(n_stops: int = 1000) -> Figures:
    """As `innerear stop` sends it, and a fifth as often from a sender without priority."""
    return stop_to_zero(n_stops) | stop_to_zero(n_stops // 5, hurried=False)


def measure(minutes: float = 10.0, stops: int = 1000, blocks: int = 10_000_000, changes: int = 200) -> Figures:
    """All bars of playback."""
    return {**chain_load(), **condition_to_audible(changes), **both_stops(stops), **soak(minutes), **fuzzed(blocks)}
