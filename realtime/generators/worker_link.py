"""The live side's hand on a worker: asks, waits no longer than told, and knows a late answer for what it is."""

import time

import msgspec
import zmq

from realtime.errors import GeneratorError
from realtime.generators.worker_protocol import LARGEST_BYTES, Answer, Request, decode_answer, encode_message


class WorkerLink:
    """A connection that outlives the worker: when another one binds the endpoint, it is spoken to.

    For one thread. Nothing is queued for a worker that is not there.

    Parameters
    ----------
    endpoint : str
        ZeroMQ endpoint the worker binds.

    Raises
    ------
    GeneratorError
        Not an endpoint.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 4)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LARGEST_BYTES)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as exc:
            self._socket.close()
            raise GeneratorError(f"the worker's endpoint {endpoint!r} cannot be connected to ({exc}); wanted one such "
                                 "as tcp://127.0.0.1:5600 or ipc:///run/worker") from exc

    def ask(self, request: Request, payload: bytes = b"", within_s: float = 0.0) -> bool:
        """Send; False when no worker takes it within this time."""
        if not self._socket.poll(round(1000 * within_s), zmq.POLLOUT):
            return False
        try:
            self._socket.send_multipart(encode_message(request, payload), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def answer(self, within_s: float) -> tuple[Answer, bytes] | None:
        """The next answer and its payload, or None when none came within this time.

        Raises
        ------
        GeneratorError
            Bytes that are no answer.
        """
        if not self._socket.poll(round(1000 * within_s), zmq.POLLIN):
            return None
        frames = self._socket.recv_multipart()
        try:
            return decode_answer(frames)
        except (msgspec.MsgspecError, ValueError) as exc:
            raise GeneratorError(f"the worker at {self.endpoint} answered nonsense ({exc}); use a worker of this "
                                 "version") from exc

    def answer_to(self, number: int, within_s: float) -> tuple[Answer, bytes] | None:
        """The answer of that number; earlier ones are dropped. Errors as `answer`."""
        until_s = time.monotonic() + within_s
        while True:
            got = self.answer(max(0.0, until_s - time.monotonic()))
            if got is None or getattr(got[0], "number", -1) == number:
                return got

    def close(self) -> None:
        """Leave; may be called twice."""
        self._socket.close()
