"""How the player is to play."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from realtime.errors import ConfigError

Sink = Literal["auto", "device", "wav", "null"]
RATE_HZ = 48000
"""Of all sound: clips at another rate are refused, not resampled."""

LOUDEST_DB = 12.0  # of the operator's volume; the ceiling holds whatever it is


@dataclass(frozen=True)
class PlayerSettings:
    """Settings of the player process.

    Attributes
    ----------
    played_wav : Path
        Exactly what was played; a numbered neighbour is made when it exists. Not written by sink "null".
    sink : str
        "device" the sound card; "wav" no sound, only the recording; "null" neither; "auto" the card, or
        "wav" where there is none. A card is always recorded too.
    volume_db : float
        Operator's volume at the start, at most 12.
    ceiling_dbfs : float
        No sample is louder; at most 0. Fixed for the session.
    rate_hz : int
        Frames per second of clips and sink.
    lookahead_s : float
        Sound mixed ahead of the card, at least 0.3: what the player may be late.
    fade_s : float
        Longest cross-fade, and the fade-out at the end.
    """

    played_wav: Path
    sink: Sink = "auto"
    volume_db: float = 0.0
    ceiling_dbfs: float = -1.0
    rate_hz: int = RATE_HZ
    lookahead_s: float = 0.3
    fade_s: float = 0.5

    def __post_init__(self) -> None:
        checks = [
            (self.sink in get_args(Sink), f"sink is {self.sink!r}, wanted auto, device, wav or null"),
            (is_volume(self.volume_db), f"volume_db is {self.volume_db}, wanted a number up to {LOUDEST_DB:g}"),
            (-60.0 <= self.ceiling_dbfs <= 0.0, f"ceiling_dbfs is {self.ceiling_dbfs}, wanted -60 to 0"),
            (8000 <= self.rate_hz <= 192000, f"rate_hz is {self.rate_hz}, wanted 8000 to 192000"),
            (0.3 <= self.lookahead_s <= 5.0, f"lookahead_s is {self.lookahead_s}, wanted 0.3 to 5"),
            (0.01 <= self.fade_s <= 5.0, f"fade_s is {self.fade_s}, wanted 0.01 to 5"),
        ]
        problems = [problem for good, problem in checks if not good]
        if problems:
            message = f"The player cannot be set up so: {'; '.join(problems)}. Correct the playback settings."
            raise ConfigError(message)


def is_volume(volume_db: float) -> bool:
    """Whether the operator may set this volume."""
    return not math.isnan(volume_db) and volume_db <= LOUDEST_DB
