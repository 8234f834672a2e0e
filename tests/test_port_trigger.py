"""Every trigger keeps the contract of `TriggerSource`; serial lines and keyboards are real pseudo-terminals."""

import os
import pty
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from scanner_bridge.errors import TriggerError
from scanner_bridge.ports import TriggerSource
from scanner_bridge.triggers import open_trigger
from scanner_bridge.triggers.parallel_port import ParallelTrigger
from scanner_bridge.triggers.settings import STATUS_PINS, TriggerSettings, parse_trigger
from scanner_bridge.triggers.simulated import SimulatedTrigger

PATIENCE_S = 20.0


class Scanner(Protocol):
    """The other end of a trigger."""

    trigger: TriggerSource

    def pulse(self) -> None: ...

    def close(self) -> None: ...


class Terminal:
    """A box that types into a pseudo-terminal."""

    def __init__(self, kind: str) -> None:
        self.master, self.slave = pty.openpty()
        self.device = os.ttyname(self.slave)
        self.trigger = open_trigger(parse_trigger(f"{kind}:{self.device}?key=5"))

    def pulse(self) -> None:
        os.write(self.master, b"5")

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def close(self) -> None:
        self.trigger.close()
        os.close(self.master)
        os.close(self.slave)


class Lines:
    """Status bits that change as a plan says, one step for every time they are read; then rest."""

    def __init__(self, rest: int) -> None:
        self.rest, self.levels, self.closed = rest, list[int](), False

    def read(self) -> int:
        return self.levels.pop(0) if self.levels else self.rest

    def close(self) -> None:
        self.closed = True


class Port:
    """A pin of a parallel port that is pulled for a few readings."""

    def __init__(self, pin: int = 10, inverted: bool = False) -> None:
        bit = STATUS_PINS[pin]
        high_is_set = pin != 11  # the hardware inverts that one
        rest_high = inverted
        self.rest, self.pulled = (bit if rest_high == high_is_set else 0), (0 if rest_high == high_is_set else bit)
        self.lines = Lines(self.rest)
        self.trigger = ParallelTrigger(TriggerSettings("parallel", pin=pin, inverted=inverted), self.lines)

    def pulse(self) -> None:
        self.lines.levels += [self.pulled] * 3 + [self.rest]

    def close(self) -> None:
        self.trigger.close()


@dataclass
class Simulation:
    """A simulated trigger by a clock that a test moves to the next pulse."""

    now_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.trigger = SimulatedTrigger(TriggerSettings("simulated", tr_s=0.01, pulses=100), self._clock, self._sleep)
        self._next_s = self.now_s
        self.now_s -= 0.005

    def pulse(self) -> None:
        self.now_s = self._next_s
        self._next_s += 0.01

    def close(self) -> None:
        self.trigger.close()

    def _clock(self) -> float:
        return self.now_s

    def _sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


SCANNERS = {
    "keyboard": lambda: Terminal("keyboard"),
    "serial": lambda: Terminal("serial"),
    "parallel, pin 10": Port,
    "parallel, pin 11": lambda: Port(11),
    "parallel, pin 15, inverted": lambda: Port(15, inverted=True),
    "parallel, pin 11, inverted": lambda: Port(11, inverted=True),
    "simulated": Simulation,
}


@pytest.fixture(params=SCANNERS)
def scanner(request: pytest.FixtureRequest) -> Iterator[Scanner]:
    made: Scanner = SCANNERS[request.param]()
    yield made
    made.close()


def heard(trigger: TriggerSource, n: int) -> list[float]:
    until_s, times_s = time.monotonic() + PATIENCE_S, list[float]()
    while len(times_s) < n and time.monotonic() < until_s:
        times_s += trigger.wait(0.005)
    return times_s


def test_without_a_pulse_nothing_comes(scanner: Scanner) -> None:
    assert scanner.trigger.wait(0.0) == ()
    assert scanner.trigger.wait(0.002) == ()


def test_every_pulse_comes_once_in_order_and_stamped_when_it_came(scanner: Scanner) -> None:
    before_s = time.monotonic() - 0.1
    for n in range(1, 6):
        scanner.pulse()
        assert len(heard(scanner.trigger, 1)) == 1, n
    scanner.pulse()
    (last_s,) = heard(scanner.trigger, 1)
    assert scanner.trigger.wait(0.0) == ()
    assert before_s < last_s < time.monotonic() + 0.1


def test_closing_twice_is_allowed(scanner: Scanner) -> None:
    scanner.trigger.close()
    scanner.trigger.close()


@pytest.mark.parametrize("kind", ["keyboard", "serial"])
def test_pulses_that_come_between_two_looks_are_all_there(kind: str) -> None:
    terminal = Terminal(kind)
    try:
        terminal.type(b"555")
        assert len(heard(terminal.trigger, 3)) == 3
    finally:
        terminal.close()


@pytest.mark.parametrize("kind", ["keyboard", "serial"])
def test_other_keys_are_no_pulses(kind: str) -> None:
    terminal = Terminal(kind)
    try:
        terminal.type(b"x6\n 5t")
        assert len(heard(terminal.trigger, 1)) == 1
    finally:
        terminal.close()


def test_a_serial_trigger_takes_any_byte_unless_told_which() -> None:
    master, slave = pty.openpty()
    trigger = open_trigger(TriggerSettings("serial", os.ttyname(slave)))
    os.write(master, b"\x00\xff5")
    assert len(heard(trigger, 3)) == 3
    trigger.close()
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("kind", ["keyboard", "serial"])
def test_a_device_that_goes_away_is_told_in_a_sentence(kind: str) -> None:
    terminal = Terminal(kind)
    os.close(terminal.master)
    with pytest.raises(TriggerError, match=r"open it again|was closed|plug it in again"):
        heard(terminal.trigger, 1)
    terminal.trigger.close()
    os.close(terminal.slave)


def test_a_keyboard_is_given_back_as_it_was() -> None:
    import termios

    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    trigger = open_trigger(TriggerSettings("keyboard", os.ttyname(slave)))
    assert termios.tcgetattr(slave)[3] & (termios.ECHO | termios.ICANON) == 0
    assert termios.tcgetattr(slave)[3] & termios.ISIG  # Ctrl-C still ends the program
    trigger.close()
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_a_level_that_is_there_at_the_start_is_no_pulse() -> None:
    lines = Lines(STATUS_PINS[10])
    trigger = ParallelTrigger(TriggerSettings("parallel"), lines)
    assert trigger.wait(0.002) == ()
    lines.levels += [0, STATUS_PINS[10]]
    assert len(trigger.wait(PATIENCE_S)) == 1
    trigger.close()
    assert lines.closed


def test_other_pins_are_no_pulses() -> None:
    lines = Lines(0)
    trigger = ParallelTrigger(TriggerSettings("parallel", pin=12), lines)
    lines.levels += [0xFF & ~STATUS_PINS[12], 0] * 3
    assert trigger.wait(0.005) == ()


@pytest.mark.parametrize("kind", ["keyboard", "serial", "parallel"])
def test_a_device_that_is_not_there_or_none_of_its_kind_is_refused_in_a_sentence(kind: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    for device in (tmp_path / "absent", plain):
        with pytest.raises(TriggerError, match=f"cannot .*{device}"):
            open_trigger(parse_trigger(f"{kind}:{device}"))


def test_simulated_pulses_are_lost_and_doubled_as_told() -> None:
    waits_s: list[float] = []
    settings = parse_trigger("simulated?tr_s=2&pulses=5&lost=1,2&doubled=3")
    trigger = SimulatedTrigger(settings, lambda: sum(waits_s), waits_s.append)
    times_s = [time_s for _ in range(40) for time_s in trigger.wait(0.5)]
    assert times_s == pytest.approx([0, 6, 6.002, 8])


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("keyboard", TriggerSettings("keyboard", "/dev/tty", key="5")),
        ("keyboard?key=t", TriggerSettings("keyboard", key="t")),
        ("serial:/dev/ttyACM0?baud=9600&key=5", TriggerSettings("serial", "/dev/ttyACM0", "5", 9600)),
        ("serial?delay_s=1.5", TriggerSettings("serial", "/dev/ttyUSB0", delay_s=1.5)),
        ("serial:COM3", TriggerSettings("serial", "COM3")),
        ("parallel?pin=11&inverted=true", TriggerSettings("parallel", "/dev/parport0", pin=11, inverted=True)),
    ],
)  # fmt: skip
def test_a_trigger_is_named_in_one_word(text: str, settings: TriggerSettings) -> None:
    assert parse_trigger(text) == settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("telepathy", "kind is one of keyboard, serial"), ("serial?baud=fast", "baud cannot be 'fast'"),
        ("serial?speed=1", "no option 'speed'"), ("parallel?pin=2", "pin is one of 15, 13"),
        ("keyboard?key=55", "key is one ASCII character"), ("serial?baud=1", "baud is between"),
        ("parallel?inverted=perhaps", "inverted cannot be 'perhaps'"), ("serial?delay_s=nan", "delay_s is 0 to 60"),
        ("simulated?pulses=0", "pulses is between"), ("simulated?tr_s=-1", "tr_s is positive"),
        ("simulated?lost=x", "lost cannot be 'x'"), ("", "kind is one of"),
    ],
)  # fmt: skip
def test_a_trigger_that_cannot_be_is_refused_in_a_sentence(text: str, says: str) -> None:
    with pytest.raises(TriggerError, match=says):
        parse_trigger(text)
