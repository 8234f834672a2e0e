"""The worker's side: whatever makes chunks, behind a socket. For a process of its own."""

from collections.abc import Callable
from typing import Protocol

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from realtime.generators.worker_protocol import (
    LARGEST_BYTES,
    Answer,
    Begin,
    Done,
    Failed,
    Hello,
    Made,
    Make,
    Request,
    Restore,
    State,
    Welcome,
    decode_request,
    encode_message,
)
from realtime.messages import EmbeddingSpace


class WorkerModel(Protocol):
    """A model that makes music chunk by chunk, at its own pace."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def space(self) -> EmbeddingSpace:
        """Of its conditions."""
        ...

    @property
    def rate_hz(self) -> int:
        """Frames per second: the player's."""
        ...

    @property
    def chunk_frames(self) -> int:
        """Of every chunk."""
        ...

    def begin(self, seed: int) -> None:
        """Forget all music; what follows depends on this seed and on conditions."""
        ...

    def condition(self, embedding: NDArray[np.float32]) -> None:
        """Sound like this, shape (dim,), from the next chunk on."""
        ...

    def chunk(self) -> NDArray[np.float32]:
        """The next chunk, shape (chunk_frames, 2)."""
        ...

    def state(self) -> bytes:
        """All that the coming chunks depend on."""
        ...

    def restore(self, state: bytes) -> None:
        """Go on from a state."""
        ...


def serve(model: WorkerModel, endpoint: str, ready: Callable[[str], None]) -> None:
    """Answer requests one by one, until the process ends. What the model raises becomes a `failed`.

    Parameters
    ----------
    model : WorkerModel
        What makes the music.
    endpoint : str
        To bind; "tcp://127.0.0.1:*" takes any free port.
    ready : callable
        Told the endpoint that was bound.
    """
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, LARGEST_BYTES)
        socket.bind(endpoint)
        ready(socket.getsockopt_string(zmq.LAST_ENDPOINT))
        while True:
            who, *frames = socket.recv_multipart()
            socket.send_multipart([who, *_answer(model, frames)])


def _answer(model: WorkerModel, frames: list[bytes]) -> list[bytes]:
    number = -1
    try:
        request, payload = decode_request(frames)
        number = getattr(request, "number", -1)
        return encode_message(*_do(model, request, payload))
    except (msgspec.MsgspecError, ValueError) as exc:
        return encode_message(Failed(number, f"not a request: {exc}"))
    except Exception as exc:  # whatever a large model throws, the live side hears of it and plays on
        return encode_message(Failed(number, f"{type(exc).__name__}: {exc}"))


def _do(model: WorkerModel, request: Request, payload: bytes) -> tuple[Answer, bytes]:
    match request:
        case Hello():
            space = model.space
            return Welcome(model.name, space.name, space.dim, space.sha256, model.rate_hz, model.chunk_frames), b""
        case Make():
            if request.condition >= 0:
                embedding = np.frombuffer(payload, "<f4").astype(np.float32)
                if embedding.shape != (model.space.dim,) or not np.isfinite(embedding).all():
                    message = f"a condition of shape {embedding.shape}, wanted a finite {(model.space.dim,)}"
                    raise ValueError(message)
                model.condition(embedding)
            return Made(request.number), np.ascontiguousarray(model.chunk(), "<f4").tobytes()
        case Begin():
            model.begin(request.seed)
            return Done(request.number), b""
        case State():
            return Done(request.number), model.state()
        case Restore():
            model.restore(payload)
            return Done(request.number), b""
