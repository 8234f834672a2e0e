"""What the sound is at the ear: measured once for a device with its headphones, kept in a file."""

from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray

from realtime.atomic import write_json
from realtime.errors import PlaybackError
from realtime.playback.resampling import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, resample_taps

MAX_TAPS = 4096
LOUDEST_EQ_DB = 24.0


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A measurement at the ear.

    Attributes
    ----------
    device : str
        Of the sound card, as the system names it; a session with another card is refused.
    headphones : str
        Model and serial number.
    db_spl_at_0dbfs : float
        Level at the ear of a 1 kHz sine of full scale, the louder ear, equaliser on, volume 0 dB.
    rate_hz : int
        Of the equaliser.
    eq_left, eq_right : list of float
        Impulse response of the headphones' equaliser for each ear, equally long; [1.0] for none.
    measured_on : str
        ISO date.
    measured_by : str
        Who measured.
    """

    device: str
    headphones: str
    db_spl_at_0dbfs: float
    rate_hz: int
    eq_left: list[float]
    eq_right: list[float]
    measured_on: str
    measured_by: str

    def problems(self) -> list[str]:
        """Everything that is wrong with it, in words."""
        names = {"device": self.device, "headphones": self.headphones, "measured_by": self.measured_by}
        found = [f"{name} is empty, wanted a name" for name, value in names.items() if not value.strip()]
        if not 40.0 <= self.db_spl_at_0dbfs <= 160.0:
            found.append(f"db_spl_at_0dbfs is {self.db_spl_at_0dbfs}, wanted 40 to 160")
        if not 1 <= len(self.eq_left) == len(self.eq_right) <= MAX_TAPS:
            taps = f"{len(self.eq_left)} and {len(self.eq_right)}"
            found.append(f"eq_left and eq_right have {taps} taps, wanted the same number, 1 to {MAX_TAPS}")
        elif not np.isfinite(self.taps).all() or np.abs(self.taps).sum(axis=1).max() > 10 ** (LOUDEST_EQ_DB / 20):
            found.append(f"the equaliser has taps that are not finite or add up to more than {LOUDEST_EQ_DB:g} dB")
        if not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            found.append(f"rate_hz is {self.rate_hz}, wanted {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}")
        try:
            date.fromisoformat(self.measured_on)
        except ValueError:
            found.append(f"measured_on is {self.measured_on!r}, wanted a date such as 2026-11-21")
        return found

    @property
    def taps(self) -> NDArray[np.float64]:
        """The equaliser, shape (2, n_taps)."""
        return np.array([self.eq_left, self.eq_right], dtype=np.float64)

    def taps_at(self, rate_hz: int) -> NDArray[np.float64]:
        """The equaliser for a player at another rate, too."""
        return resample_taps(self.taps, self.rate_hz, rate_hz)


def read_taps(path: Path, rate_hz: int) -> list[float]:
    """An impulse response for one ear, from a mono WAV of this rate or a one-dimensional .npy.

    Raises
    ------
    PlaybackError
        It cannot be read, or is something else.
    """
    try:
        if path.suffix == ".npy":
            taps = np.load(path, allow_pickle=False)
        else:
            taps, file_rate_hz = soundfile.read(path, dtype="float64")
            if file_rate_hz != rate_hz:
                message = f"Equaliser {path} is for {file_rate_hz} Hz, wanted {rate_hz} Hz: ask its maker for that one."
                raise PlaybackError(message)
    except (OSError, ValueError, soundfile.SoundFileError) as exc:
        message = f"Equaliser {path} cannot be read: {exc}. Give a mono WAV or a .npy of its impulse response."
        raise PlaybackError(message) from exc
    if taps.ndim != 1:
        message = f"Equaliser {path} has shape {taps.shape}, wanted one ear's taps. Give one file for each ear."
        raise PlaybackError(message)
    return [float(tap) for tap in taps]


def read_calibration(path: Path) -> Calibration:
    """A calibration file.

    Raises
    ------
    PlaybackError
        It cannot be read, or says something impossible; all of it is named.
    """
    try:
        calibration = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except OSError as exc:
        message = f"Calibration {path} cannot be read: {exc.strerror}. Make one with: innerear sound calibrate"
        raise PlaybackError(message) from exc
    except msgspec.MsgspecError as exc:
        message = f"Calibration {path} is damaged: {exc}. Make it again with: innerear sound calibrate"
        raise PlaybackError(message) from exc
    found = calibration.problems()
    if found:
        message = f"Calibration {path} cannot be used: {'; '.join(found)}. Measure again with: innerear sound calibrate"
        raise PlaybackError(message)
    return calibration


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration file, whole or not at all; PlaybackError when it says something impossible."""
    if found := calibration.problems():
        message = f"This calibration cannot be kept: {'; '.join(found)}. Correct the measurement."
        raise PlaybackError(message)
    write_json(path, msgspec.to_builtins(calibration))
