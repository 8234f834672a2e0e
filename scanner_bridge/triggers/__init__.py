"""Where the scanner's trigger pulses come from: one file per kind, one function that opens any of them.

settings        what can be said about a trigger
keyboard        a key that a trigger box presses
serial_port     a byte on a serial line
parallel_port   a TTL level on a status pin
simulated       pulses of a scanner that is not there, lost and doubled on purpose
run_pulses      hears any of them beside a run

Pulses are never counted into indices: `scanner_bridge.reconciliation` compares them with the volumes by time.
"""

from scanner_bridge.errors import TriggerError
from scanner_bridge.ports import TriggerSource
from scanner_bridge.triggers.settings import TriggerSettings


def open_trigger(settings: TriggerSettings) -> TriggerSource:
    """Open a trigger; its module is imported here, because not every host has every library.

    Raises
    ------
    TriggerError
        The device cannot be had, or what it needs is not installed on this host.
    """
    try:
        if settings.kind == "keyboard":
            from scanner_bridge.triggers.keyboard import KeyboardTrigger  # noqa: PLC0415  # no termios on Windows

            return KeyboardTrigger(settings)
        if settings.kind == "serial":
            from scanner_bridge.triggers.serial_port import SerialTrigger  # noqa: PLC0415  # optional library

            return SerialTrigger(settings)
        if settings.kind == "parallel":
            from scanner_bridge.triggers.parallel_port import ParallelTrigger, PpdevRegister  # noqa: PLC0415  # Linux

            return ParallelTrigger(settings, PpdevRegister(settings.device))
    except ImportError as error:
        raise TriggerError(
            f"a {settings.kind} trigger needs {error.name!r}, which this host lacks: install the extra "
            "innerear[trigger] (serial), or use Linux (keyboard, parallel)"
        ) from error
    from scanner_bridge.triggers.simulated import SimulatedTrigger  # noqa: PLC0415

    return SimulatedTrigger(settings)
