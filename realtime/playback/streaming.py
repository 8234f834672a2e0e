"""Between the mixer and the producers: when to ask for a chunk, how long to wait for it, and what then."""

import threading

from realtime.playback import protocol
from realtime.playback.clips import Loop
from realtime.playback.door import Door
from realtime.playback.mixer import Mixer
from realtime.playback.news import EventWriter, Hearing
from realtime.playback.ring import FrameRing
from realtime.playback.streams import ConditionStart, StreamSource

STREAM_LOOKAHEAD = 0.8  # of the ring, what is mixed and queued when the next chunk is asked for …
STALL_AT = 0.3  # … and what is left in it when a chunk that has not come is given up
FED_POLL_S = 0.005


class Streaming:
    """The streams that the mixer plays or is about to.

    Parameters
    ----------
    mixer : Mixer
        Where they sound.
    ring : FrameRing
        Where the mix goes.
    hearing : Hearing
        Tells of conditions once they are heard.
    events : EventWriter
        Who hears of streams that break off.
    """

    def __init__(self, mixer: Mixer, ring: FrameRing, hearing: Hearing, events: EventWriter) -> None:
        self._mixer = mixer
        self._ring = ring
        self._hearing = hearing
        self._events = events
        self._cue = -1
        self._fallback: Loop | None = None
        self.door: Door | None = None
        self.fed = threading.Event()

    def cue(self, number: int, stream: str, fallback: Loop | None) -> None:
        """Change to a stream, or tell that nobody feeds it."""
        inlet = self.door.inlet(stream) if self.door else None
        if inlet is None:
            reason = f"Nobody feeds stream {stream!r}. Connect its producer to the player's door first."
            self._events.put(protocol.Rejected(number, reason))
            return
        self._cue, self._fallback = number, fallback
        self._mixer.cue(number, inlet.source)

    def ask_for_chunks(self) -> None:
        """Keep what streams have mixed and queued at the look-ahead, and no more: the next condition is newer."""
        for source in (self._mixer.playing, self._mixer.waiting):
            if not isinstance(source, StreamSource) or self.door is None:
                continue
            plays = source is self._mixer.playing and not source.starved
            ahead = source.queued + self._ring.fill if plays else source.ready
            inlet = self.door.inlet(source.stream)
            if inlet is not None and ahead <= (STREAM_LOOKAHEAD * self._ring.capacity if plays else 0):
                inlet.want()

    def wait_for_chunk(self, n_frames: int) -> bool:
        """Wait a moment for a stream that has too little for the next frames; False when none is worth waiting for."""
        playing = self._mixer.playing
        if self._mixer.ready >= n_frames or (playing is not None and playing.starved):
            return False
        if self._ring.fill <= STALL_AT * self._ring.capacity:
            return False
        self.fed.wait(FED_POLL_S)
        self.fed.clear()
        return True

    def follow(self) -> None:
        """Expect new conditions to be heard; put the fallback in the place of a stream that broke off."""
        source = self._mixer.playing
        if not isinstance(source, StreamSource):
            return
        for condition, position in source.take_conditions():
            self._hearing.expect(ConditionStart(source.stream, condition, self._mixer.start + position))
        if source.tell_stall():
            fallback = self._fallback
            self._events.put(protocol.Stalled(source.stream, fallback.clip_id if fallback else ""))
            if fallback is not None and self._mixer.waiting is None:
                self._mixer.cue(self._cue, fallback)
