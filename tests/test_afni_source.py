"""Runs over AFNI's protocol: two connections, a header in words, bytes in any pieces, channels and strangers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from realtime.broker import free_port
from scanner_bridge.emitters.disturbance import Disturbance
from scanner_bridge.emitters.rehearsal import Pace, send_volumes
from scanner_bridge.errors import PeerGone, SourceError
from scanner_bridge.sources import afni_codec
from scanner_bridge.volume import Volume
from tests.emitting import assert_heard, doing, emitted, emitter, listening, put, simulated


def test_afnis_end_marker_ends_a_run_and_a_closed_connection_does_too() -> None:
    with emitted("afni", simulated()) as source:
        assert len(list(source)) == 5
    with afni_sender(source_of := listening("afni")) as connection:
        connection.sendall(bytes(2 * 120))
        connection.close()
        assert [volume.index for volume in source_of] == [0, 1]
    source_of.close()


@contextmanager
def afni_sender(source: Any, shape: str = "6 5 2", **commands: str) -> Iterator[socket.socket]:
    """The data connection of a sender that has said its header; closed after use."""
    port = free_port()
    ready = threading.Event()
    made: list[socket.socket] = []

    def announce() -> None:
        with socket.create_connection((source.address.host, source.address.port)) as control:
            control.sendall(afni_codec.encode_control("localhost", port))
        while not made:
            try:
                made.append(socket.create_connection(("127.0.0.1", port)))
            except ConnectionRefusedError:
                assert not ready.wait(0.02)
        words = {
            "ACQUISITION_TYPE": "3D+t", "XYMATRIX": shape, "XYFOV": "30 30 30", "XYZAXES": "R-L A-P I-S", **commands,
        }  # fmt: skip
        made[0].sendall("".join(f"{name} {value}\n" for name, value in words.items()).encode() + b"\0")

    with doing(announce):
        assert source.header.tr_s == float(commands.get("TR", 1.0))
    try:
        yield made[0]
    finally:
        made[0].close()


def test_an_afni_sender_that_leaves_in_the_middle_of_a_volume_ends_the_run_with_a_sentence() -> None:
    source = listening("afni")
    with afni_sender(source) as connection:
        connection.sendall(bytes(120 + 7))
        connection.close()
        volumes = iter(source)
        assert next(volumes).index == 0
        with pytest.raises(PeerGone, match=r"when 7 of 120 bytes of volume 1 had come: the run ends with volume 0"):
            next(volumes)
    source.close()


def test_a_slow_sender_is_waited_for() -> None:
    source = listening("afni", expect=1)
    with afni_sender(source) as connection, doing(lambda: [connection.sendall(bytes([n])) for n in range(120)]):
        assert next(iter(source)).data.tobytes(order="F") == bytes(range(120))
    source.close()


def test_of_several_channels_the_first_is_the_run() -> None:
    source = listening("afni", follow_s=0.2)
    with afni_sender(source, NUM_CHAN="2", ACQUISITION_TYPE="2D+zt", ZORDER="seq", BYTEORDER="MSB_FIRST") as connection:
        for value in (1, 9, 2, 9, 3, 9, 4, 9):  # two volumes of two slices, each followed by another channel's
            connection.sendall(np.full(30, value, ">i2").tobytes())
        volumes = list(source)
    assert [[int(volume.data[0, 0, z]) for z in range(2)] for volume in volumes] == [[1, 2], [3, 4]]
    assert "channel 1 of 2" in source.header.source
    source.close()


def test_a_second_sender_is_refused_while_a_run_comes(caplog: pytest.LogCaptureFixture) -> None:
    source = listening("afni", expect=1)
    with afni_sender(source) as connection:
        put(source, b"tcp:here:7953\0")
        connection.sendall(bytes(120))
        assert len(list(source)) == 1
    source.close()
    assert "a run is coming from 127.0.0.1" in caplog.text


def test_a_sender_that_announces_itself_and_never_comes_is_forgotten(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # long enough for a sender that does come, and has to wait for a core
    monkeypatch.setattr("scanner_bridge.sources.afni._DATA_CHANNEL_S", 0.7)
    source = listening("afni", expect=5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        put(source, f"tcp:here:{taken.getsockname()[1]}\0".encode(), f"tcp:here:{free_port()}\0".encode())
        sender = emitter("afni", source.address)
        with doing(lambda: send_volumes(simulated(), sender, Pace(None), Disturbance())):
            assert_heard(list(source), list(simulated()))
    source.close()
    assert "wants to send to port" in caplog.text
    assert "sent no header within 0.7 s" in caplog.text


def test_what_afni_cannot_carry_is_sent_as_what_it_can_or_refused() -> None:
    run, volume = simulated().header, next(iter(simulated()))
    for dtype, expected in (("<u2", "<i4"), ("|i1", "<i2"), ("<f8", "<f4")):
        source = listening("afni", expect=1)
        sender = emitter("afni", source.address)
        other = Volume(0, volume.data.astype(dtype), volume.affine, volume.tr_s)
        with doing(lambda: sender.send(run, other)):  # noqa: B023  # done within the turn
            assert source.header.dtype == expected
            np.testing.assert_array_equal(next(iter(source)).data, other.data)
        source.close()
        sender.close()
    wide = Volume(0, volume.data.astype("<u4"), volume.affine, volume.tr_s)
    with pytest.raises(SourceError, match="no uint32 voxels"):
        emitter("afni", source.address).send(run, wide)
