"""Part two: what comes over the wire, whole, damaged, repeated, or from strangers."""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import zmq

from scanner_bridge.envelope import Envelope, Kind
from scanner_bridge.volume import WIRE_DTYPES, RunEnd
from scanner_bridge.wire import encode
from tests import builders
from tests.processes import finish
from tests.scanner_room import N_VOLUMES, Operator, Room, Scanner, live


def test_volumes_repeated_reordered_and_damaged_leave_a_record_of_each(room: Room) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        run, nan = scanner.run, np.full(builders.SHAPE, np.nan)
        every_type = [replace(volume, data=(volume.data // 16).astype(dtype), slope=16.0)
                      for volume, dtype in zip(run[17:], WIRE_DTYPES, strict=True)]
        scanner.send(
            scanner.header, *run[:8],
            run[3],                                                            # again: the bridge drops it
            replace(run[3], data=run[4].data),                                 # again, with other voxels
            run[9], replace(run[10], data=nan), run[8],                        # 8 when two later ones were there
            replace(run[12], slope=1e308), replace(run[11], data=nan.astype("<f4") * np.inf),  # in the wrong order
            replace(run[13], inter=-1e308),
            replace(run[14], data=np.full(builders.SHAPE, 1e300)),
            replace(run[15], data=np.zeros((2, 3, 4), "<i2")),
            replace(run[16], affine=np.zeros((4, 4))),
            replace(run[17], index=2**52),
            replace(run[17], run_id="another"),
            *every_type,
            RunEnd("another", 3),
            RunEnd("run-1", 2**53 - 1),                                        # an absurd length invents no gaps
        )
        finish(process)
    statuses = {step["volume"]: step["status"] for step in room.steps()}
    assert {volume for volume, status in statuses.items() if status == "REJECTED"} == set(range(10, 17))
    assert [volume for volume, status in statuses.items() if status == "GAP"] == [8]
    assert {statuses[volume] for volume in range(17, N_VOLUMES)} <= {"OK", "CENSORED"}
    assert list(statuses) == list(range(N_VOLUMES))
    notes = " ".join(document["text"] for document in room.documents("note"))
    for words in ("volume 3 came twice with different voxels",
                  "volume 8 came after later ones", f"volume {2**52} came when it was volume 17's turn",
                  "run 'another' is not this session's"):
        assert words in notes
    figures = room.summary()
    assert (figures["gaps"], figures["duplicates"], figures["late"]) == (1, 0, 1)
    room.verify()


def dealer_sends(endpoint: str, *messages: list[bytes]) -> None:
    """Raw frames, each sent until it is answered."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(endpoint)
        for frames in messages:
            deadline_s = time.monotonic() + 60.0
            while True:
                dealer.send_multipart(frames)
                if dealer.poll(500):
                    break
                assert time.monotonic() < deadline_s, "no answer"
            while dealer.poll(50):
                answer = Envelope.from_bytes(dealer.recv())
        assert answer.kind is Kind.ACK


def test_bit_flips_and_truncation_on_the_wire_reject_one_volume_each(room: Room) -> None:
    run, nonce = builders.run_of(builders.volumes(8)), b"0123456789abcdef"
    messages = [encode(message) for message in (
        builders.header(N_VOLUMES), *run, RunEnd("run-1", 8, "aborted", "enough"))]
    flipped, cut = bytearray(messages[4][1]), messages[6][1][:-7]
    flipped[1000] ^= 4
    damaged = {4: [messages[4][0], bytes(flipped)], 6: [messages[6][0], cut], 8: messages[8][:1]}
    envelopes = [Envelope(Kind.DATA, nonce, seq).to_bytes() for seq in range(len(messages))]
    stream = [[envelopes[seq], *frames] for seq, whole in enumerate(messages)
              for frames in ([damaged[seq]] * 4 if seq in damaged else [whole])]  # three requests, then as it came
    room.settings = "[playback]\ntail_s = 2.0\n"
    with live(room) as process:
        dealer_sends(room.endpoint, *stream, stream[-1])  # whose acknowledgement was lost: it is answered again
        finish(process)
    assert [step["status"] for step in room.steps()] == [
        "SETTLING", "SETTLING", "OK", "REJECTED", "OK", "REJECTED", "OK", "REJECTED"]
    room.verify()


@contextlib.contextmanager
def garbage(endpoint: str) -> Iterator[None]:
    """Peers that speak no protocol of ours, connected while the block lasts."""
    rng = np.random.default_rng(3)
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(endpoint)
        raw = [socket.create_connection((host, int(port)), timeout=5) for _ in range(20)]
        for place, peer in enumerate(raw):
            with_greeting = b"\xff" + bytes(8) + b"\x7f" if place % 2 else b""
            peer.sendall(with_greeting + rng.bytes(int(rng.integers(1, 5000))))
        valid = Envelope(Kind.DATA, b"x" * 16, 2**63, 2**63).to_bytes()
        for n_frames in range(1, 30):
            dealer.send_multipart([rng.bytes(int(rng.integers(0, 100))) for _ in range(n_frames)])
            dealer.send_multipart([valid, *[b"?"] * n_frames])
        try:
            yield
        finally:
            for peer in raw:
                peer.close()


def test_peers_that_spew_garbage_disturb_nothing(room: Room) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(5)
        with garbage(room.endpoint):
            scanner.end()
            finish(process)
    assert room.steps() == room.undisturbed(N_VOLUMES)
    room.verify()


def test_volumes_without_a_header_are_kept_and_the_operator_hears_it(watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    volumes, nonce = builders.run_of(builders.volumes(3)), b"0123456789abcdef"
    with live(room) as process:
        operator.await_state("armed")
        dealer_sends(room.endpoint, *([Envelope(Kind.DATA, nonce, seq).to_bytes(), *encode(volume)]
                                      for seq, volume in enumerate(volumes)))
        operator.await_alarm("came before any run header")
        process.send_signal(signal.SIGTERM)
        finish(process)
    assert room.summary()["volumes_journaled"] == 3
    assert room.steps() == []
    room.verify()
