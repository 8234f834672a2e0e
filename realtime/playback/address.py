"""Where a player's door is, and how to reach it."""

import os
import socket
from pathlib import Path

DOOR_NAME = "player.sock"


def door_of(played_wav: Path) -> Path:
    """The socket of the player that records there."""
    return played_wav.with_name(DOOR_NAME)


def connect_unix(path: Path, timeout_s: float) -> socket.socket:
    """A connection to a socket in the file system, however long its path is.

    Raises
    ------
    OSError
        Nobody listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    folder = -1
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")  # an address holds 107 bytes, a path may be longer
    except BaseException:
        connection.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return connection
