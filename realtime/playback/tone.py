"""A tone for calibrating, through the very player that plays the music."""

import asyncio
from pathlib import Path
from typing import Any, cast

import numpy as np
import soundfile

from realtime.messages import Clip, Cue
from realtime.playback import protocol
from realtime.playback.client import PlayerClient, PlayerSummary
from realtime.playback.settings import RATE_HZ, PlayerSettings

TONE_HZ = 1000
LOUDEST_TONE_DBFS = -10.0
START_S = 2.0


def play_tone(folder: Path, level_dbfs: float, duration_s: float, sink: str, calibration: Path | None) -> str:
    """Play a 1 kHz sine of this peak level in both ears; returns what was played, where, and how loud it was.

    Raises
    ------
    PlaybackError, ConfigError
        There is no way to play it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_frames = round((duration_s + START_S) * RATE_HZ)  # as long as it is heard: the seam of a loop would tick
    tone = np.sin(2 * np.pi * TONE_HZ * np.arange(n_frames) / RATE_HZ)
    clip = Clip("tone", folder / "tone.wav", gain_db=level_dbfs)
    soundfile.write(clip.path, tone.astype(np.float32), RATE_HZ, subtype="FLOAT")
    settings = PlayerSettings(
        played_wav=folder / "played.wav", sink=cast(Any, sink), volume_db=0.0, ceiling_dbfs=LOUDEST_TONE_DBFS + 1.0,
        calibration=calibration)
    started, status, summary = asyncio.run(_play(settings, clip, duration_s))
    level = "" if status is None or status.level_dba is None else f", {status.level_dba:.1f} dB(A) at the ear"
    peak_db = 20 * np.log10(max(summary.peak, 1e-10))
    where = started.device or f"no sound card ({started.sink})"
    return f"played on {where}: peak {peak_db:.1f} dBFS{level}; recorded in {summary.played_wav}"


async def _play(
    settings: PlayerSettings, clip: Clip, duration_s: float
) -> tuple[protocol.Started, protocol.Status | None, PlayerSummary]:
    async with await PlayerClient.start(settings, [clip]) as player:
        player.play(Cue(0, 0, clip.clip_id))
        await asyncio.sleep(duration_s)
        status = player.status
        return player.started, status, await player.close()
