"""A run served beside its trigger, over real sockets and a real terminal line."""

import logging
import os
import pty
from typing import Any

import pytest
from typer.testing import CliRunner

from scanner_bridge.__main__ import app
from scanner_bridge.serve import serve
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.triggers.settings import TriggerSettings, parse_trigger
from scanner_bridge.volume import RunEnd, TriggerSummary
from tests.live_end import LiveProgram, live_program
from tests.processes import finish
from tests.scanner_room import N_VOLUMES, Room, Scanner, live


def simulated(**changes: Any) -> SourceSettings:
    return SourceSettings(kind="simulated", **{"n_volumes": 6, "shape": (8, 8, 5), "tr_s": 0.05, **changes})


def last_end(program: LiveProgram) -> RunEnd:
    end = program.received[-1].message
    assert isinstance(end, RunEnd)
    return end


def test_lost_and_doubled_pulses_are_told_at_the_end_and_no_index_moves() -> None:
    trigger = parse_trigger("simulated?tr_s=0.5&pulses=6&lost=2&doubled=4")
    with live_program() as program:
        end = serve(simulated(tr_s=0.5), program.endpoint, trigger=trigger)
        assert last_end(program) == end
        assert program.indices == list(range(6))
    assert end.status == "complete"
    assert end.trigger is not None
    assert (end.trigger.n_pulses, end.trigger.n_missing, end.trigger.n_extra) == (6, 1, 1)
    assert "no pulse for volumes 2; more than one pulse for volumes 4" in end.trigger.sentence
    assert end.trigger.offset_s is not None
    assert 0.5 <= end.trigger.offset_s < 0.95


def test_every_pulse_on_a_serial_line_is_heard_while_volumes_are_sent() -> None:
    master, slave = pty.openpty()
    with live_program() as program:
        end = serve(
            simulated(), program.endpoint, trigger=TriggerSettings("serial", os.ttyname(slave)),
            on_header=lambda header: os.write(master, b"5"),
            on_volume=lambda volume: os.write(master, b"5") if volume.index < 5 else None,
        )  # fmt: skip
        assert program.indices == list(range(6))
    os.close(master)
    os.close(slave)
    assert end.trigger is not None
    assert end.trigger.n_pulses == 6


def test_a_trigger_that_is_unplugged_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    master, slave = pty.openpty()
    with live_program() as program, caplog.at_level(logging.WARNING):
        end = serve(
            simulated(), program.endpoint, trigger=TriggerSettings("serial", os.ttyname(slave)),
            on_volume=lambda volume: os.close(master) if volume.index == 2 else None,
        )  # fmt: skip
        assert program.indices == list(range(6))
    os.close(slave)
    assert end.status == "complete"
    assert end.trigger is not None
    assert (end.trigger.n_pulses, end.trigger.n_missing) == (0, 6)
    assert "volume 0 came before any pulse of the serial trigger" in caplog.text
    assert "was lost" in caplog.text
    assert "the run goes on without pulses" in caplog.text


def test_without_a_trigger_nothing_is_said_of_one() -> None:
    with live_program() as program:
        assert serve(simulated(), program.endpoint, speed=None).trigger is None


def test_the_command_tells_the_pulses() -> None:
    with live_program() as program:
        options = ["--connect", program.endpoint, "--volumes", "3", "--tr", "0.1"]
        served = CliRunner().invoke(app, ["serve", "simulated", *options, "--trigger", "simulated?tr_s=0.1&pulses=3"])
    assert served.exit_code == 0
    assert "trigger: 3 pulses for 3 volumes" in served.stderr


def test_a_trigger_that_cannot_be_opened_is_one_sentence_before_anything_is_sent() -> None:
    refused = CliRunner().invoke(app, ["serve", "simulated", "--trigger", "serial:/dev/no-such-line"])
    assert refused.exit_code == 1
    assert refused.stderr.startswith("innerear: cannot open the serial line /dev/no-such-line at 115200 baud")


def test_the_live_program_keeps_what_came_of_the_pulses_and_tells_where_they_failed(room: Room) -> None:
    said = "6 pulses for 6 volumes; no pulse for volumes 2"
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(6)
        scanner.send(RunEnd("run-1", 6, "aborted", "enough", TriggerSummary(6, 1, 1, 0, 0, 1.75, 0.004, said)))
        finish(process)
    trigger = room.summary()["trigger"]
    assert (trigger["n_missing"], trigger["offset_s"], trigger["sentence"]) == (1, 1.75, said)
    assert f"trigger: {said}" in [document["text"] for document in room.documents("note")]
    room.verify()
