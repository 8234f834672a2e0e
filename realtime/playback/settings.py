"""How the player is to play."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from realtime.errors import ConfigError

Sink = Literal["auto", "device", "wav", "null"]
Mode = Literal["desk", "scanner"]
RATE_HZ = 48000
"""Of sound that is made here; what comes at another rate is converted to that of the sink."""

LOUDEST_DB = 12.0  # of the operator's volume; the ceiling holds whatever it is


@dataclass(frozen=True)
class SoundSettings:
    """What an operator may choose of the sound; the one place of its defaults.

    Attributes
    ----------
    sink : str
        "device" the sound card; "wav" no sound, only the recording; "null" neither; "auto" the card, or
        "wav" where there is none. A card is always recorded too.
    volume_db : float
        Operator's volume at the start, at most 12.
    ceiling_dbfs : float
        No true peak is louder; at most 0. Fixed for the session.
    lookahead_s : float
        Sound mixed ahead of the card, at least 0.3: what the player may be late.
    fade_s : float
        Longest cross-fade, and the fade-out at the end.
    gain_db : float
        Of all music, in front of the equaliser; at most 12.
    mode : str
        "scanner" when a person lies in it: refused without a calibration. "desk" otherwise.
    calibration : Path or None
        File of `innerear sound calibrate`: the headphones' equaliser, and what a level is at the ear.
    loudest_db_spl : float
        With a calibration, the ceiling at the ear: the lower of this and `ceiling_dbfs` holds.
    dose_criterion_dba : float
        With a calibration, the level at the ear that is a day's dose in 8 h; at 100 % the sound stops.
    """

    sink: Sink = "auto"
    volume_db: float = -12.0
    ceiling_dbfs: float = -3.0
    lookahead_s: float = 0.3
    fade_s: float = 0.5
    gain_db: float = 0.0
    mode: Mode = "desk"
    calibration: Path | None = None
    loudest_db_spl: float = 95.0
    dose_criterion_dba: float = 80.0

    def __post_init__(self) -> None:
        checks = [
            (self.sink in get_args(Sink), f"sink is {self.sink!r}, wanted auto, device, wav or null"),
            (is_volume(self.volume_db), f"volume_db is {self.volume_db}, wanted a number up to {LOUDEST_DB:g}"),
            (-60.0 <= self.ceiling_dbfs <= 0.0, f"ceiling_dbfs is {self.ceiling_dbfs}, wanted -60 to 0"),
            (0.3 <= self.lookahead_s <= 5.0, f"lookahead_s is {self.lookahead_s}, wanted 0.3 to 5"),
            (0.01 <= self.fade_s <= 5.0, f"fade_s is {self.fade_s}, wanted 0.01 to 5"),
            (-60.0 <= self.gain_db <= LOUDEST_DB, f"gain_db is {self.gain_db}, wanted -60 to {LOUDEST_DB:g}"),
            (self.mode in get_args(Mode), f"mode is {self.mode!r}, wanted desk or scanner"),
            (40.0 <= self.loudest_db_spl <= 110.0, f"loudest_db_spl is {self.loudest_db_spl}, wanted 40 to 110"),
            (60.0 <= self.dose_criterion_dba <= 85.0,
             f"dose_criterion_dba is {self.dose_criterion_dba}, wanted 60 to 85"),
            (self.mode != "scanner" or self.calibration is not None,
             "mode is 'scanner' without a calibration, so that nobody knows the level at the ear: measure it once with "
             "`innerear sound calibrate FILE` and name the file as playback.calibration"),
        ]
        problems = [problem for good, problem in checks if not good]
        if problems:
            message = f"The player cannot be set up so: {'; '.join(problems)}. Correct the playback settings."
            raise ConfigError(message)


@dataclass(frozen=True)
class PlayerSettings(SoundSettings):
    """Settings of the player process.

    Attributes
    ----------
    played_wav : Path
        Exactly what was played; a numbered neighbour is made when it exists. Not written by sink "null".
        The player's door and its STOP lie beside it.
    rate_hz : int
        Frames per second of the sink; a card that refuses them gets another rate that it takes.
    """

    played_wav: Path = field(kw_only=True)
    rate_hz: int = RATE_HZ

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 8000 <= self.rate_hz <= 192000:
            message = f"The player cannot run at {self.rate_hz} Hz, wanted 8000 to 192000. Correct its settings."
            raise ConfigError(message)


def is_volume(volume_db: float) -> bool:
    """Whether the operator may set this volume."""
    return not math.isnan(volume_db) and volume_db <= LOUDEST_DB
