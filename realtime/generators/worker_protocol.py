"""What the live program and a worker with a large model say to each other, over ZeroMQ.

A worker binds a ROUTER socket; the live side connects a DEALER. Every message is two frames: a
header (msgpack, a `kind` field), and a payload, empty unless said otherwise. Samples are float32
little-endian, frame by frame; states are whatever bytes the worker makes of its own.

======== ======================================== ==========================================
asks     header                                   answered with
======== ======================================== ==========================================
hello    version                                  welcome: space, rate_hz, chunk_frames, name
make     number, condition?; payload: embedding   chunk: number; payload: samples
begin    number, seed                             done: number
state    number                                   done: number; payload: the state
restore  number; payload: the state               done: number
======== ======================================== ==========================================

Instead of any answer a worker may say ``failed`` with a reason. `number` is told back, so that a
late answer is known for what it is. Nothing here imports more than numpy and msgspec: the worker's
environment may be a world of its own.
"""

from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

VERSION = 1
CHANNELS = 2
LARGEST_BYTES = 64 << 20


class Hello(msgspec.Struct, frozen=True, tag_field="kind", tag="hello"):
    """Who are you?"""

    version: int = VERSION


class Make(msgspec.Struct, frozen=True, tag_field="kind", tag="make"):
    """The next chunk; with a new condition when `condition` is not -1, whose embedding is the payload."""

    number: int
    condition: int = -1


class Begin(msgspec.Struct, frozen=True, tag_field="kind", tag="begin"):
    """Forget all music, and begin anew from this seed."""

    number: int
    seed: int


class State(msgspec.Struct, frozen=True, tag_field="kind", tag="state"):
    """All that your coming chunks depend on, please."""

    number: int


class Restore(msgspec.Struct, frozen=True, tag_field="kind", tag="restore"):
    """Go on from this state."""

    number: int


class Welcome(msgspec.Struct, frozen=True, tag_field="kind", tag="welcome"):
    """I am this: space of conditions, frames per second, frames of every chunk."""

    name: str
    space_name: str
    space_dim: int
    space_sha256: str
    rate_hz: int
    chunk_frames: int
    version: int = VERSION


class Made(msgspec.Struct, frozen=True, tag_field="kind", tag="chunk"):
    """Here is the chunk."""

    number: int


class Done(msgspec.Struct, frozen=True, tag_field="kind", tag="done"):
    """It is done; the payload is the state, if that was asked for."""

    number: int


class Failed(msgspec.Struct, frozen=True, tag_field="kind", tag="failed"):
    """I cannot."""

    number: int
    reason: str


Request = Hello | Make | Begin | State | Restore
Answer = Welcome | Made | Done | Failed
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
_Message = TypeVar("_Message", Request, Answer)


def encode_message(message: Request | Answer, payload: bytes = b"") -> list[bytes]:
    """The two frames of a message."""
    return [msgspec.msgpack.encode(message), payload]


def decode_request(frames: list[bytes]) -> tuple[Request, bytes]:
    """A request and its payload; raises msgspec.MsgspecError or ValueError."""
    header, payload = _two(frames)
    return _requests.decode(header), payload


def decode_answer(frames: list[bytes]) -> tuple[Answer, bytes]:
    """An answer and its payload; raises msgspec.MsgspecError or ValueError."""
    header, payload = _two(frames)
    return _answers.decode(header), payload


def _two(frames: list[bytes]) -> tuple[bytes, bytes]:
    if len(frames) != 2 or len(frames[1]) > LARGEST_BYTES:
        message = f"{len(frames)} frames, the last of {len(frames[-1]) if frames else 0} bytes; wanted two, short ones"
        raise ValueError(message)
    return frames[0], frames[1]


def samples_of(payload: bytes, n_frames: int) -> NDArray[np.float32]:
    """Samples of shape (n_frames, 2), finite and within ±1; ValueError for anything else."""
    if len(payload) != 4 * CHANNELS * n_frames:
        message = f"{len(payload)} bytes of samples, wanted {4 * CHANNELS * n_frames}"
        raise ValueError(message)
    frames: NDArray[np.float32] = np.frombuffer(payload, "<f4").reshape(n_frames, CHANNELS).astype(np.float32)
    if not np.isfinite(frames).all():
        message = "samples that are not numbers"
        raise ValueError(message)
    return np.clip(frames, -1.0, 1.0)
