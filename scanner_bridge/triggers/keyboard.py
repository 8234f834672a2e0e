"""A key pressed by a trigger box that poses as a keyboard, read from a terminal without waiting for a line."""

import contextlib
import os
import select
import termios
import time
import tty

from scanner_bridge.errors import TriggerError
from scanner_bridge.triggers.settings import TriggerSettings


class KeyboardTrigger:
    """Pulses from a terminal, which keeps none of the keys that come while this is open.

    The kernel queues every key, so that no press is too short to be seen. Ctrl-C still ends the program, which has to
    run in the foreground: the system stops one in the background that reads its terminal.

    Parameters
    ----------
    settings : TriggerSettings
        `device` and `key`.

    Raises
    ------
    TriggerError
        The device is no terminal, or cannot be opened.
    """

    def __init__(self, settings: TriggerSettings) -> None:
        self._device, self._key = settings.device, settings.key.encode()
        self._fd = -1
        try:
            self._fd = os.open(self._device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd, termios.TCSANOW)
        except (OSError, termios.error) as error:
            self._release()
            raise TriggerError(
                f"cannot read keys from {self._device}: {error.args[-1]}; run in a terminal, or name one "
                "(keyboard:/dev/tty1)"
            ) from error

    def wait(self, timeout_s: float) -> tuple[float, ...]:
        """See `scanner_bridge.ports.TriggerSource`."""
        readable, _, _ = select.select([self._fd], [], [], timeout_s)
        if not readable:
            return ()
        now_s = time.monotonic()
        try:
            keys = os.read(self._fd, 4096)
        except OSError as error:
            raise TriggerError(f"{self._device} cannot be read any more: {error.strerror}; open it again") from error
        if not keys:
            raise TriggerError(f"{self._device} was closed: no more pulses can come from it")
        return (now_s,) * keys.count(self._key)

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._fd >= 0:
            with contextlib.suppress(OSError, termios.error):  # it may have gone
                termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        self._release()

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
