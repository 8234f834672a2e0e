"""Three streams for Lab Streaming Layer: what is decoded, how sure it is, and what happens.

Their samples carry this host's LSL clock at the time they were told; `latency_ms` says how long before that the volume
was due. NaN is not known. In a blinded session nothing is told of what was decoded, as on the bus.
"""

import asyncio
import math
from dataclasses import dataclass, field

import msgspec
import pylsl

from realtime.session.record import decode_vector
from realtime.topics import About, Alarm, Shown, State, Step

CHANNELS = ("feedback", "confidence", "genre_confidence", "volume", "latency_ms")


def _outlet(name: str, kind: str, channels: tuple[str, ...], number_format: int, session: str) -> pylsl.StreamOutlet:
    info = pylsl.StreamInfo(name, kind, len(channels), pylsl.IRREGULAR_RATE, number_format, f"{name} {session}")
    labels = info.desc().append_child("channels")
    for label in channels:
        labels.append_child("channel").append_child_value("label", label)
    return pylsl.StreamOutlet(info)


@dataclass
class LslOutlets:
    """Streams `innerear-embedding`, `innerear-confidence` and `innerear-markers`; an outlet.

    Attributes
    ----------
    session : str
        Name of the session on the bus: a recorder finds the streams again by it when this program was restarted.
    """

    session: str
    _confidence: pylsl.StreamOutlet = field(init=False)
    _markers: pylsl.StreamOutlet = field(init=False)
    _embedding: pylsl.StreamOutlet | None = None
    _dim: int = 0

    def __post_init__(self) -> None:
        self._confidence = _outlet("innerear-confidence", "Feedback", CHANNELS, pylsl.cf_double64, self.session)
        self._markers = _outlet("innerear-markers", "Markers", ("marker",), pylsl.cf_string, self.session)

    def hear(self, message: msgspec.Struct) -> None:
        """Push what came."""
        match message:
            case About(dim=int(dim)) if dim > 0 and dim != self._dim:
                self._dim = dim
                self._embedding = _outlet("innerear-embedding", "Embedding", tuple(map(str, range(dim))),
                                          pylsl.cf_float32, self.session)
            case State():
                self._mark(f"state {message.state}")
            case Alarm():
                self._mark(f"alarm {message.text}")
            case Shown():
                self._mark(f"shown {message.sequence} {message.client}")
            case Step():
                self._step(message)

    def _step(self, step: Step) -> None:
        values = (getattr(step, name) for name in CHANNELS)
        self._confidence.push_sample([math.nan if value is None else float(value) for value in values])
        if step.phase:
            self._mark(f"phase {step.phase}")
        if step.status in ("GAP", "REJECTED"):
            self._mark(f"volume {step.volume} {step.status}")
        if step.embedding and self._embedding is not None:
            vector = decode_vector(step.embedding)
            if len(vector) == self._dim:
                self._embedding.push_sample(vector.tolist())

    def _mark(self, text: str) -> None:
        self._markers.push_sample([text])

    async def open(self) -> None:
        """The streams are there already."""

    async def run(self) -> None:
        """Until cancelled: samples are pushed as they come."""
        await asyncio.Event().wait()
