"""The sound card, through PortAudio."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.playback.clock import MonotonicClock
from realtime.playback.gate import Gate
from realtime.playback.outlet import Outlet
from realtime.playback.recorder import WavRecorder
from realtime.playback.ring import CHANNELS
from realtime.playback.sinks import LOOKAHEAD_S, RingSink

LATENCY_S = 0.1  # what the sound card's own buffer should hold
SILENT_TOO_LONG_S = 0.5  # a callback that did not run for this long means that the card is gone …
STOPPED = "it was stopped"
SECOND_LOOK_S = 0.1  # … unless it runs within this time


RATES_HZ = (48_000, 44_100, 96_000, 88_200, 32_000, 192_000)  # what a card is asked for, in this order


def rate_of_card(wanted_hz: int) -> int:
    """The rate at which the default card is to be opened: the one wanted, or the first other that it takes.

    Where there is no card, or none that says what it takes, the one wanted: opening it says what is wrong.
    """
    try:
        import sounddevice  # noqa: PLC0415 - raises without PortAudio, which only this sink needs
    except OSError:
        return wanted_hz
    for rate_hz in dict.fromkeys((wanted_hz, *RATES_HZ)):
        try:
            sounddevice.check_output_settings(samplerate=rate_hz, channels=CHANNELS, dtype="float32")
        except Exception:  # PortAudioError, or whatever a driver throws: the next rate
            continue
        return rate_hz
    return wanted_hz


class PortAudioDrain:
    """A PortAudio output stream whose callback copies from the ring and counts.

    The package sounddevice is imported here and nowhere else: its import raises where the
    PortAudio library is missing.

    Parameters
    ----------
    outlet : Outlet
        What to pull from.
    device : str
        The card to open and no other; "" for the system's default.
    waits : bool
        Play silence until `begin`, beside another drain of the outlet.

    Raises
    ------
    PlaybackError
        No PortAudio, no sound card, or one that refuses the rate.
    """

    def __init__(self, outlet: Outlet, device: str = "", *, waits: bool = False) -> None:
        self._outlet = outlet
        self._waits = waits
        self._failure = ""
        self._called_s = time.monotonic()
        self._closed = False
        self.device_underruns = 0
        try:
            import sounddevice  # noqa: PLC0415 - raises without PortAudio, which only this sink needs

            if waits:  # opened again: a card that was plugged in since the start is seen by a new look only
                sounddevice._terminate()
                sounddevice._initialize()
            self._stream: Any = sounddevice.OutputStream(
                device=device or None,
                samplerate=outlet.rate_hz,
                channels=CHANNELS,
                dtype="float32",
                blocksize=0,
                latency=LATENCY_S,
                callback=self._fill,
                finished_callback=self._finished,
            )
            self.device = str(sounddevice.query_devices(self._stream.device)["name"])
            self._stream.start()
        except Exception as exc:  # OSError without the library, PortAudioError (not importable then) without a card
            message = (
                f"The sound card cannot be opened at {outlet.rate_hz} Hz, {CHANNELS} channels: {exc}. Install "
                "PortAudio (libportaudio2) and connect a card, or set the sink to 'wav'."
            )
            raise PlaybackError(message) from exc

    @property
    def latency_s(self) -> float:
        """Time from leaving the ring to leaving the card, as the card reports it."""
        return float(self._stream.latency)

    def _fill(self, out: NDArray[np.float32], _frames: int, _time: Any, status: Any) -> None:
        now_s = time.monotonic()
        self._called_s = now_s
        if self._waits:
            out[:] = 0.0
            return
        if status.output_underflow:
            self.device_underruns += 1
        self._outlet.pull(out, now_s)

    def _finished(self) -> None:
        if not self._closed:
            self._failure = self._failure or "its stream ended"

    def _lost(self) -> str:
        """Why no frames leave any more; "" while they do."""
        silent_s = time.monotonic() - self._called_s
        if self._failure or silent_s < SILENT_TOO_LONG_S:
            return self._failure
        return f"it asked for no sound for {silent_s:.1f} s, wanted a request every few ms"

    def check(self) -> None:
        """Raise PlaybackError when the card has not asked for sound for half a second or its stream ended."""
        if self._failure == STOPPED:
            raise PlaybackError("STOP: the sound card is closed, and opened again after re-arming.")
        if self._lost():
            time.sleep(SECOND_LOOK_S)  # a process that was stopped and goes on has not lost its card
        if reason := self._lost():
            message = f"The sound card is lost: {reason}. Check its cable; the session goes on without sound."
            raise PlaybackError(message)

    def begin(self) -> None:
        """Pull from now on."""
        self._waits = False

    def abort(self) -> None:
        """Silence the card within its own period, and let go of it; `check` raises from now on."""
        self._failure = STOPPED
        self._stream.abort(ignore_errors=True)

    def close(self) -> None:
        """Stop the stream, a working card after what it already took; may be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._lost():
            self._stream.abort(ignore_errors=True)
        else:
            self._stream.stop(ignore_errors=True)
        self._stream.close(ignore_errors=True)


class DeviceSink(RingSink):
    """The default sound card; what it plays is recorded too when a recorder is given.

    Parameters
    ----------
    rate_hz : int
        Frames per second.
    gate : Gate, optional
        Mute and STOP.
    recorder : WavRecorder, optional
        Gets exactly what the card got; closed with the sink.
    lookahead_s : float
        Length of the ring.

    Raises
    ------
    PlaybackError
        No PortAudio, no sound card, or one that refuses the rate.
    """

    def __init__(
        self,
        rate_hz: int,
        *,
        gate: Gate | None = None,
        recorder: WavRecorder | None = None,
        lookahead_s: float = LOOKAHEAD_S,
    ) -> None:
        outlet = Outlet(rate_hz, lookahead_s, gate or Gate(rate_hz), recorder)
        super().__init__(outlet, PortAudioDrain, MonotonicClock())
