"""The end of the sound's way in the player: a sink opened by name, put on a clock when its card fails."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from realtime.errors import PlaybackError
from realtime.playback.clock import MonotonicClock
from realtime.playback.device_sink import PortAudioDrain
from realtime.playback.gate import Gate
from realtime.playback.outlet import Outlet
from realtime.playback.recorder import WavRecorder
from realtime.playback.settings import PlayerSettings
from realtime.playback.sinks import ClockDrain, Drain, RingSink


class Output:
    """A sink that does not fail: what goes wrong is kept to be told, and time goes on.

    Parameters
    ----------
    settings : PlayerSettings
        Which sink, and where it records.
    gate : Gate
        Mute and STOP.
    lead_in : float32 array of shape (n_frames, 2)
        The first frames; queued before anything pulls, so that the start cannot run dry.
    open_device : callable
        Makes the drain of a sound card.

    Attributes
    ----------
    kind : str
        "device", "wav" or "null": what it is by now.
    no_device : str
        Why "auto" did not take the sound card; else "".
    outlet : Outlet
        Positions, times and counters.
    recorder : WavRecorder or None
        The recording.

    Raises
    ------
    PlaybackError
        The recording cannot be made, or the sink is "device" and there is none.
    """

    def __init__(
        self,
        settings: PlayerSettings,
        gate: Gate,
        lead_in: NDArray[np.float32],
        open_device: Callable[[Outlet], Drain] = PortAudioDrain,
    ) -> None:
        self.kind = "device" if settings.sink == "auto" else settings.sink
        self.no_device = ""
        self.recorder = None if settings.sink == "null" else WavRecorder(settings.played_wav, settings.rate_hz)
        self.outlet = Outlet(settings.rate_hz, settings.lookahead_s, gate, self.recorder)
        self.outlet.ring.write(lead_in)
        self._clock = MonotonicClock()
        self._failures: list[str] = []
        self._recorder_told = False
        open_drain = open_device if self.kind == "device" else self._open_clock
        try:
            self._sink = RingSink(self.outlet, open_drain, self._clock)
        except PlaybackError as exc:
            if settings.sink == "device":
                if self.recorder:
                    self.recorder.close()
                raise
            self.kind, self.no_device = "wav", str(exc)
            self._sink = RingSink(self.outlet, self._open_clock, self._clock)

    @property
    def drain(self) -> Drain:
        """What pulls by now."""
        return self._sink.drain

    def write(self, block: NDArray[np.float32]) -> None:
        """Queue a block of shape (n, 2), all of it whatever happens; blocks while the ring is full."""
        before = self.outlet.ring.written
        try:
            self._sink.write(block)
        except Exception as exc:  # whatever a sound card's driver throws, the session's time goes on
            self._failures.append(str(exc))
            self.kind = "wav" if self.recorder else "null"
            self._sink.replace_drain(self._open_clock)
            self._sink.write(block[self.outlet.ring.written - before :])

    def take_failures(self) -> list[str]:
        """What went wrong since the last call."""
        if self.recorder and self.recorder.failure and not self._recorder_told:
            self._recorder_told = True
            self._failures.append(self.recorder.failure)
        failures, self._failures = self._failures, []
        return failures

    def close(self) -> None:
        """Play out what is queued, then close sink and recording."""
        self._sink.close()

    def _open_clock(self, outlet: Outlet) -> Drain:
        return ClockDrain(outlet, self._clock)
