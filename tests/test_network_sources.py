"""Runs over AFNI's, Pyneal's and vsend's protocols, through real sockets: whole, disturbed, and by strangers."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import zmq

from realtime.broker import free_port
from scanner_bridge.emitters.disturbance import Disturbance
from scanner_bridge.emitters.rehearsal import Pace, send_volumes
from scanner_bridge.errors import SourceError
from scanner_bridge.sources import afni_codec, open_source, pyneal_codec, vsend_codec
from scanner_bridge.sources.grid import MAX_VOLUME_BYTES
from scanner_bridge.sources.settings import settings_for
from scanner_bridge.volume import RunHeader, Volume
from scanner_bridge.waiting import Stop, StopRequested
from tests.emitting import assert_heard, doing, emitted, emitter, listening, put, simulated

KINDS = ("afni", "pyneal", "vsend")
OPTIONS: dict[str, dict[str, Any]] = {
    "afni": {}, "afni by slice": {"by_slice": True}, "pyneal": {}, "vsend": {},
    "vsend packed": {"layout": "packed"}, "vsend without sizes": {"sizes": False, "mosaic": False},
}  # fmt: skip


class Scaled:
    """A source whose stored values are not scanner units."""

    def __init__(self) -> None:
        self._source = simulated()
        self.header: RunHeader = self._source.header

    def __iter__(self) -> Iterator[Volume]:
        for volume in self._source:
            yield Volume(volume.index, volume.data, volume.affine, volume.tr_s, slope=0.5, inter=-3.0)

    def close(self) -> None: ...


@pytest.mark.parametrize("way", OPTIONS)
def test_a_run_arrives_as_it_was_sent(way: str) -> None:
    kind = way.split()[0]
    with emitted(kind, simulated(), options=OPTIONS[way], expect=5) as source:
        header, heard = source.header, list(source)
    sent = simulated()
    assert_heard(heard, list(sent))
    assert (header.shape, header.dtype, header.n_volumes) == (sent.header.shape, sent.header.dtype, 5)
    assert header.slice_times_s == (sent.header.slice_times_s if kind == "afni" else None)
    assert header.run_id.startswith(f"{kind}-")
    assert {volume.run_id for volume in heard} == {header.run_id}
    assert ("counted as they came" if kind == "afni" else "numbered by their headers") in header.source


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_a_scale_is_sent_in_scanner_units(kind: str) -> None:
    with emitted(kind, Scaled(), expect=5) as source:
        heard = list(source)
    for volume, stored in zip(heard, simulated(), strict=True):
        np.testing.assert_array_equal(volume.data, 0.5 * stored.data.astype("f4") - 3)


@pytest.mark.parametrize("kind", ["pyneal", "vsend"])
def test_lost_doubled_and_late_volumes_never_shift_an_index(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    disturbance = Disturbance(drop=0.2, duplicate=0.3, shuffle_s=2.5, seed=3)
    with emitted(kind, simulated(n_volumes=20, tr_s=1.0), disturbance, follow_s=1.0) as source:
        heard = list(source)
    indices = [volume.index for volume in heard]
    assert indices == sorted(set(indices))
    assert 5 < len(indices) < 20
    assert [int(volume.data[0, 0, 0]) for volume in heard] == indices
    assert "was handed over before it" in caplog.text or "it came before" in caplog.text


def test_a_totaltr_that_is_reached_ends_a_vsend_run() -> None:
    with emitted("vsend", simulated()) as source:
        assert source.header.n_volumes == 5
        assert len(list(source)) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_over_when_nothing_comes_any_more(kind: str) -> None:
    source = listening(kind, follow_s=0.3)
    endless = simulated(n_volumes=3)
    sender = emitter(kind, source.address)
    header = RunHeader(**{**vars(endless.header), "n_volumes": None})
    for volume in endless:
        if volume.index == 0:
            with doing(lambda: sender.send(header, volume)):  # noqa: B023  # done before the next
                assert source.header.n_volumes is None
            volumes = iter(source)
            next(volumes)
        else:
            with doing(lambda: sender.send(header, volume)):  # noqa: B023  # done before the next
                assert next(volumes).index == volume.index
    assert list(volumes) == []
    source.close()
    sender.close()


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_coming_is_an_error_after_the_wait_that_says_what_to_do(kind: str) -> None:
    source = listening(kind, wait_s=0.1)
    with pytest.raises(SourceError, match=r"within 0\.1 s: (start|check)"):
        _ = source.header
    source.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_ends_the_wait(kind: str) -> None:
    stop = Stop()
    stop.request("enough")
    source = open_source(settings_for(f"{kind}://127.0.0.1:0"), sleep=stop.sleep)
    with pytest.raises(StopRequested, match="enough"):
        _ = source.header
    source.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_that_is_taken_is_an_error_with_the_remedy(kind: str) -> None:
    first = listening(kind)
    with pytest.raises(SourceError, match=r"cannot listen for .* end it, or name another address"):
        listening(kind, listen=str(first.address))
    first.close()


@pytest.mark.parametrize("kind", KINDS)
def test_without_an_address_a_source_listens_on_loopback_only(kind: str) -> None:
    port = {"afni": 7954, "pyneal": 5555, "vsend": 15000}[kind]
    assert str(settings_for(kind).address(port)) == f"127.0.0.1:{port}"
    assert str(settings_for(f"{kind}://0.0.0.0").address(port)) == f"0.0.0.0:{port}"
    assert str(settings_for(f"{kind}://:9").address(port)) == "127.0.0.1:9"
    assert str(settings_for(f"{kind}://[::1]:9").address(port)) == "[::1]:9"
    with pytest.raises(SourceError, match="names port '99999'"):
        settings_for(f"{kind}://host:99999").address(port)


GARBAGE = [b"GET / HTTP/1.0\r\n\r\n", bytes(range(256)) * 4, b"\0" * 700, b"ERTI" + b"\xff" * 700, b"tcp:x:1\0"]


@pytest.mark.parametrize("kind", ["afni", "vsend"])
def test_strangers_are_refused_with_a_sentence_and_keep_nobody_out(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = listening(kind, expect=5)
    silent = [socket.create_connection((source.address.host, source.address.port)) for _ in range(3)]
    loud = [socket.create_connection((source.address.host, source.address.port)) for _ in GARBAGE]
    for connection, garbage in zip(loud, GARBAGE, strict=True):
        connection.sendall(garbage)
    sender = emitter(kind, source.address)
    with doing(lambda: send_volumes(simulated(), sender, Pace(None), Disturbance())):
        assert_heard(list(source), list(simulated()))
    source.close()
    for connection in (*silent, *loud):
        connection.close()
    assert caplog.text.count("is refused at the") >= len(GARBAGE)
    assert "wanted" in caplog.text


def test_garbage_at_pyneals_port_is_answered_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    source = listening("pyneal", expect=5)
    context = zmq.Context()
    stranger = context.socket(zmq.PAIR)
    stranger.connect(f"tcp://{source.address}")
    messages = [[b"what"], [b"{}", b""], [b"a", b"b", b"c"], [b"[" * 9000, b""], [b"hello" * 999], [b"hello you"]]
    for message in messages:
        stranger.send_multipart(message)

    def hear() -> None:
        answers = [stranger.recv() for _ in messages]
        assert answers == [b"not understood"] * 5 + [b"hello you"]
        stranger.close()
        context.term()
        send_volumes(simulated(), emitter("pyneal", source.address), Pace(None), Disturbance())

    with doing(hear):
        assert_heard(list(source), list(simulated()))
    source.close()
    assert caplog.text.count("is left alone") == 5


def vsend_message(index: int, **changes: Any) -> bytes:
    volume = list(simulated())[index]
    run = simulated().header
    fields = {
        "grid": vsend_codec.Grid(run.shape, "<i2", run.affine, run.tr_s), "series_uid": "1.2", "scan_type": "EPI",
        "index": index, "n_volumes": 5, "is_mosaic": False, "is_motion_corrected": False, "size": 0, **changes,
    }  # fmt: skip
    return vsend_codec.encode(volume.data, vsend_codec.VsendHeader(**fields))


def test_a_vsend_sender_that_leaves_in_the_middle_of_a_volume_loses_that_volume_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = listening("vsend")
    messages = [vsend_message(index) for index in range(5)]
    with doing(lambda: put(source, messages[0], messages[1][:-1], messages[2][:700], *messages[2:])):
        assert [volume.index for volume in source] == [0, 2, 3, 4]
    source.close()
    assert "volume 1 is lost" in caplog.text
    assert "559 of 560 bytes of volume 1 had come" in caplog.text


def test_all_volumes_may_come_over_one_vsend_connection() -> None:
    source = listening("vsend")
    with doing(lambda: put(source, b"".join(vsend_message(index) for index in range(5)))):
        assert_heard(list(source), list(simulated()))
    source.close()


def test_corrected_twins_other_series_and_other_scans_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    source = listening("vsend")
    messages = [vsend_message(0, scan_type="MPRAGE")]
    for index in range(5):
        messages += [
            vsend_message(index), vsend_message(index, is_motion_corrected=True), vsend_message(index, series_uid="9"),
        ]  # fmt: skip
    messages.pop()  # the run is over with its last volume
    messages.pop()
    with doing(lambda: put(source, *messages)):
        assert_heard(list(source), list(simulated()))
    source.close()
    for words in ("wanted EPI", "not corrected for motion", "another series"):
        assert caplog.text.count(words) == 1


def test_a_changed_protocol_ends_a_vsend_run() -> None:
    source = listening("vsend")
    grid = vsend_codec.Grid((8, 7, 5), "<i2", np.diag([3, 3, 9.0, 1]), 1.0)
    with doing(lambda: put(source, vsend_message(0), vsend_message(1, grid=grid))):
        with pytest.raises(SourceError, match=r"volume 1 .* position differs by .* start a new run"):
            list(source)
        source.close()


def test_pyneal_is_told_to_stop_with_the_last_volume_and_when_we_close() -> None:
    with emitted("pyneal", simulated(n_volumes=20), expect=3) as source:
        assert [volume.index for volume in source] == [0, 1, 2]
    source = listening("pyneal")
    context = zmq.Context()
    scanner = context.socket(zmq.PAIR)
    scanner.connect(f"tcp://{source.address}")
    header = {"volIdx": 0, "dtype": "uint8", "shape": [1, 2, 3], "affine": json.dumps(np.eye(4).tolist()), "TR": "2"}
    scanner.send_multipart([json.dumps(header).encode(), bytes(6)])
    assert source.header.dtype == "|u1"
    source.close()
    assert [scanner.recv(), scanner.recv()] == [b"received volIdx 0", b"STOP"]
    scanner.close()
    context.term()


def test_a_message_larger_than_any_volume_costs_its_sender_the_connection() -> None:
    source = listening("pyneal", wait_s=1.0)
    context = zmq.Context()
    scanner = context.socket(zmq.PAIR)
    scanner.setsockopt(zmq.LINGER, 0)
    scanner.connect(f"tcp://{source.address}")
    scanner.send_multipart([b"{}", bytes(MAX_VOLUME_BYTES + 1)])
    with pytest.raises(SourceError, match="no volume came"):
        _ = source.header
    scanner.close()
    context.term()
    source.close()


def test_a_second_peer_of_pyneal_is_not_heard() -> None:
    source = listening("pyneal", expect=5)
    context = zmq.Context()
    first = emitter("pyneal", source.address)
    run, volumes = simulated().header, list(simulated())
    with doing(lambda: first.send(run, volumes[0])):
        assert source.header.shape == (8, 7, 5)
    stranger = context.socket(zmq.PAIR)
    stranger.setsockopt(zmq.LINGER, 0)
    stranger.connect(f"tcp://{source.address}")
    stranger.send(b"hello from a stranger")

    def send_the_rest() -> None:
        for volume in volumes[1:]:
            first.send(run, volume)

    with doing(send_the_rest):
        assert_heard(list(source), volumes)
    assert not stranger.poll(200)
    stranger.close()
    context.term()
    first.close()
    source.close()


def test_a_pyneal_sender_may_come_back() -> None:
    source = listening("pyneal", expect=5)
    run, volumes = simulated().header, list(simulated())

    def send_twice() -> None:
        for part in (volumes[:2], volumes[2:]):
            sender = emitter("pyneal", source.address)
            for volume in part:
                sender.send(run, volume)
            sender.close()

    with doing(send_twice):
        assert_heard(list(source), volumes)
    source.close()


def test_an_emitter_says_when_nobody_is_there() -> None:
    run, volume = simulated().header, next(iter(simulated()))
    nobody = settings_for(f"vsend://127.0.0.1:{free_port()}").address(0)
    for kind in KINDS:
        sender = emitter(kind, nobody)
        vars(sender)["wait_s" if kind != "pyneal" else "_wait_s"] = 0.1
        with pytest.raises(SourceError, match=r"(nobody takes a connection at|no answer from) 127"):
            sender.send(run, volume)
        sender.close()
        sender.close()


def test_codec_ports_are_the_published_ones() -> None:
    assert (afni_codec.DEFAULT_PORT, afni_codec.DATA_PORT) == (7954, 7953)
    assert (pyneal_codec.DEFAULT_PORT, vsend_codec.DEFAULT_PORT) == (5555, 15000)
