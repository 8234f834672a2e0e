"""What the player tells: a writer that nobody can hold up, and the moment at which each cue was heard."""

import contextlib
import queue
import threading
from typing import BinaryIO

import msgspec

from realtime.playback import protocol
from realtime.playback.mixer import CueStart
from realtime.playback.outlet import Outlet
from realtime.playback.streams import ConditionStart

EVENTS_KEPT = 10_000  # while the parent does not read


class EventWriter:
    """Writes lines from a thread, so that neither a parent that does not read nor a slow disk stops the sound.

    Parameters
    ----------
    pipe : binary file
        To the parent, or on disk.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._queue: queue.Queue[msgspec.Struct | None] = queue.Queue(EVENTS_KEPT)
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def put(self, event: msgspec.Struct) -> None:
        """Send soon; dropped when the parent has not read thousands of them."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(event)

    def close(self, timeout_s: float = 1.0) -> None:
        """Send what waits, for at most this long."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # a dead parent reads nothing
            while (event := self._queue.get()) is not None:
                self._pipe.write(protocol.encode_line(event))
                self._pipe.flush()


class Hearing:
    """Tells of everything mixed once its first frame has left the ring, in order.

    Parameters
    ----------
    outlet : Outlet
        Where frames leave.
    events : EventWriter
        Who is told.
    delay_frames : int
        From the mix to the ring's input.
    """

    def __init__(self, outlet: Outlet, events: EventWriter, delay_frames: int) -> None:
        self._outlet = outlet
        self._events = events
        self._delay_frames = delay_frames
        self._unheard: list[CueStart | ConditionStart] = []

    def expect(self, start: CueStart | ConditionStart) -> None:
        """Tell of this when it is heard."""
        self._unheard.append(start)

    def tell(self) -> None:
        """Tell of what has been heard since the last call."""
        while self._unheard:
            start = self._unheard[0]
            frame = start.frame + self._delay_frames
            if start.frame >= 0 and not self._outlet.has_left(frame):
                return
            self._events.put(self._event_of(start, frame))
            self._unheard.pop(0)

    def _event_of(self, start: CueStart | ConditionStart, frame: int) -> protocol.Event:
        if start.frame < 0:
            assert isinstance(start, CueStart)
            return protocol.Overtaken(start.number)
        position, time_s = self._outlet.position_of(frame), self._outlet.time_of(frame)
        if isinstance(start, CueStart):
            return protocol.Sounding(start.number, start.source_id, frame, position, time_s)
        return protocol.Conditioned(start.stream, start.condition, frame, position, time_s)
