"""STOP from anywhere: straight to the player's door, whatever else is dead or hung. Needs next to nothing to run."""

import contextlib
import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from realtime.playback.address import connect_unix, door_of
from realtime.playback.latch import Latch

_NOBODY = "no player runs there"
_OBEYED = "the player obeyed"
PRIORITY = 30
ANSWER_S = 0.25
"""A player that has not answered STOP for so long hangs, and is killed: that is silence, too."""
PATIENCE_S = 2.0
"""Nothing hurries where sound is let through again: a player that does not answer is left to who watches it."""


def halt(played_wav: Path) -> str:
    """Stop the player that records there, and any later one, until it is re-armed; returns what was done.

    Parameters
    ----------
    played_wav : Path
        The recording; the player's door lies beside it.

    Raises
    ------
    OSError
        The folder cannot be written, so that a later player would not know; the present one is silent.
    """
    with in_a_hurry():
        done = _stop(played_wav)
    latch = Latch(played_wav)
    if not latch.held:
        latch.hold("innerear stop")
    return done


@contextlib.contextmanager
def in_a_hurry() -> Iterator[None]:
    """Real-time priority for the calling thread, where the system grants it: others may have to wait 50 ms."""
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, param)


def rearm(played_wav: Path) -> str:
    """Take STOP back; returns what was done."""
    Latch(played_wav).release()
    door = _door(played_wav, PATIENCE_S)
    if door is None:
        return _NOBODY
    with door:
        return _OBEYED if _asked(door, b'{"command":"rearm"}\n') else (
            f"the player did not answer within {PATIENCE_S:g} s; if it hangs, the next one will sound")


def _stop(played_wav: Path) -> str:
    door = _door(played_wav, ANSWER_S)
    if door is None:
        return _NOBODY
    with door:
        if _asked(door, b'{"command":"stop"}\n'):
            return _OBEYED
        pid = struct.unpack("3i", door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        os.kill(pid, signal.SIGKILL)
        return f"the player did not answer within {1000 * ANSWER_S:.0f} ms and was killed"


def _door(played_wav: Path, timeout_s: float) -> socket.socket | None:
    try:
        return connect_unix(door_of(played_wav), timeout_s)
    except OSError:
        return None


def _asked(door: socket.socket, command: bytes) -> bool:
    """Whether the player obeyed."""
    try:
        door.sendall(command)
        return b'"obeyed"' in door.recv(4096)
    except OSError:
        return False
