"""The end of the sound's way in the player: a sink opened by name, put on a clock when its card fails."""

import threading

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

RETRY_S = 2.0
COMES_BACK_S = 1.0  # fade-in after a card came back


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
    retry_s : float
        How often a card that was lost is looked for.

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
        retry_s: float = RETRY_S,
    ) -> None:
        self.kind = "device" if settings.sink == "auto" else settings.sink
        self.no_device = ""
        self.recorder = None if settings.sink == "null" else WavRecorder(settings.played_wav, settings.rate_hz)
        self.outlet = Outlet(settings.rate_hz, settings.lookahead_s, gate, self.recorder)
        self.outlet.ring.write(lead_in)
        self._clock = MonotonicClock()
        self._failures: list[str] = []
        self._recorder_told = False
        self._gate = gate
        self._retry_s = retry_s
        self._card = ""  # the one that was opened first: no other will do, its gain is not known
        self._returned: Drain | None = None
        self._recovered = ""
        self._closing = threading.Event()
        open_drain = PortAudioDrain if self.kind == "device" else self._open_clock
        try:
            self._sink = RingSink(self.outlet, open_drain, self._clock)
        except PlaybackError as exc:
            if settings.sink == "device":
                if self.recorder:
                    self.recorder.close()
                raise
            self.kind, self.no_device = "wav", str(exc)
            self._sink = RingSink(self.outlet, self._open_clock, self._clock)
        self._card = self._sink.drain.device

    @property
    def drain(self) -> Drain:
        """What pulls by now."""
        return self._sink.drain

    def write(self, block: NDArray[np.float32]) -> None:
        """Queue a block of shape (n, 2), all of it whatever happens; blocks while the ring is full."""
        if self._returned is not None:
            self._take_back(self._returned)
        before = self.outlet.ring.written
        try:
            self._sink.write(block)
        except Exception as exc:  # whatever a sound card's driver throws, the session's time goes on
            self._failures.append(str(exc))
            self._go_on_by_clock(block[self.outlet.ring.written - before :])

    def stop(self) -> None:
        """Silence now: at the gate, and in the card, whose own buffer is dropped. From any thread."""
        self._gate.stop()
        self._sink.drain.abort()

    def take_recovered(self) -> str:
        """The card that came back since the last call, or ""."""
        recovered, self._recovered = self._recovered, ""
        return recovered

    def take_failures(self) -> list[str]:
        """What went wrong since the last call."""
        if self.recorder and self.recorder.failure and not self._recorder_told:
            self._recorder_told = True
            self._failures.append(self.recorder.failure)
        failures, self._failures = self._failures, []
        return failures

    def close(self) -> None:
        """Play out what is queued, then close sink and recording."""
        self._closing.set()
        self._sink.close()
        if self._returned is not None:
            self._returned.close()

    def _go_on_by_clock(self, left: NDArray[np.float32]) -> None:
        """Put a clock in the card's place, and queue what is left of a block."""
        self.kind = "wav" if self.recorder else "null"
        n_queued = self.outlet.ring.write(left)  # first: the clock begins to pull at once
        self._sink.replace_drain(self._open_clock)
        if self._card:
            threading.Thread(target=self._look_for_card, name="card", daemon=True).start()
        self._sink.write(left[n_queued:])

    def _look_for_card(self) -> None:
        """Open the same card again, when it is there and nobody said STOP; its drain waits for `write`."""
        while not self._closing.wait(self._retry_s):
            if self._gate.stopped:
                continue
            try:
                self._returned = PortAudioDrain(self.outlet, self._card, waits=True)
            except PlaybackError:
                continue
            return

    def _take_back(self, drain: Drain) -> None:
        def faded_in(_outlet: Outlet) -> Drain:
            self._gate.drop(COMES_BACK_S)  # only now, when the clock pulls no more: the whole rise is the card's
            return drain

        self._returned = None
        self._sink.replace_drain(faded_in)
        self.kind, self._recovered = "device", drain.device

    def _open_clock(self, outlet: Outlet) -> Drain:
        return ClockDrain(outlet, self._clock)
