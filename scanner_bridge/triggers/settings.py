"""What can be said about a trigger."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl

from scanner_bridge.errors import TriggerError

Kind = Literal["keyboard", "serial", "parallel", "simulated"]

STATUS_PINS = {15: 0x08, 13: 0x10, 12: 0x20, 10: 0x40, 11: 0x80}
"""Bit of each status pin of a parallel port in its status register (IEEE 1284); pin 11 is inverted by the hardware."""

_DEVICES = {"keyboard": "/dev/tty", "serial": "/dev/ttyUSB0", "parallel": "/dev/parport0", "simulated": ""}


@dataclass(frozen=True)
class TriggerSettings:
    """One trigger. What does not belong to its kind is left alone.

    Attributes
    ----------
    kind : {"keyboard", "serial", "parallel", "simulated"}
        What pulses come from.
    device : str
        keyboard: a terminal; serial: a line; parallel: a ppdev device. Empty takes the kind's usual one.
    key : str
        keyboard, serial: the one character that is a pulse. Empty: ``5`` (keyboard), any byte (serial).
    baud : int
        serial: bits per second.
    pin : int
        parallel: status pin that carries the level, one of `STATUS_PINS`.
    inverted : bool
        parallel: a pulse is a fall of the voltage instead of a rise.
    delay_s : float
        Shortest time from a volume's completion until this host has it. The first volumes may come up to
        nine tenths of a repetition time later than that without being taken for their neighbours.
    tr_s : float
        simulated: time between pulses; the first comes at once.
    pulses : int
        simulated: how many, dummies and lost ones included.
    lost, doubled : tuple of int
        simulated: numbers of pulses, from 0, that never come, or come twice.

    Raises
    ------
    TriggerError
        A value that cannot be; all of them are named at once.
    """

    kind: Kind
    device: str = ""
    key: str = ""
    baud: int = 115200
    pin: int = 10
    inverted: bool = False
    delay_s: float = 0.0
    tr_s: float = 1.0
    pulses: int = 30
    lost: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be; take the kind's usual device and key."""
        rules = {
            f"kind is one of {', '.join(get_args(Kind))}, got {self.kind!r}": self.kind in _DEVICES,
            f"key is one ASCII character, got {self.key!r}": len(self.key) <= 1 and self.key.isascii(),
            f"baud is between 50 and 4000000, got {self.baud}": 50 <= self.baud <= 4_000_000,
            f"pin is one of {', '.join(map(str, STATUS_PINS))}, got {self.pin}": self.pin in STATUS_PINS,
            f"delay_s is 0 to 60, got {self.delay_s}": 0 <= self.delay_s <= 60,
            f"tr_s is positive, got {self.tr_s}": 0 < self.tr_s < math.inf,
            f"pulses is between 1 and 32767, got {self.pulses}": 1 <= self.pulses <= 32767,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise TriggerError(f"trigger settings: {'; '.join(broken)}: correct them")
        if not self.device:
            object.__setattr__(self, "device", _DEVICES[self.kind])
        if self.kind == "keyboard" and not self.key:
            object.__setattr__(self, "key", "5")


def parse_trigger(text: str) -> TriggerSettings:
    """Settings of a trigger named as on the command line: ``KIND[:DEVICE][?NAME=VALUE&...]``.

    Parameters
    ----------
    text : str
        Like ``keyboard``, ``serial:/dev/ttyUSB0?baud=9600&key=5`` or ``parallel?pin=11&inverted=true``.

    Raises
    ------
    TriggerError
        A kind or an option that does not exist, or a value that cannot be.
    """
    place, _, query = text.partition("?")
    kind, _, device = place.partition(":")
    known = {field.name for field in fields(TriggerSettings)} - {"kind", "device"}
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=20):
        if name not in known:
            raise TriggerError(f"trigger {text!r}: there is no option {name!r}; there are {', '.join(sorted(known))}")
        options[name] = _value(name, value)
    return replace(TriggerSettings(kind, device), **options)  # type: ignore[arg-type]  # the settings refuse the rest


def _value(name: str, value: str) -> object:
    try:
        if name in ("lost", "doubled"):
            return tuple(int(number) for number in value.split(",") if number)
        if name in ("delay_s", "tr_s"):
            return float(value)
        if name in ("baud", "pin", "pulses"):
            return int(value)
        if name == "inverted":
            return {"true": True, "false": False}[value]
    except (ValueError, KeyError):
        raise TriggerError(f"trigger option {name} cannot be {value!r}: see innerear bridge serve --help") from None
    return value
