"""What crosses the wire comes back the same, and nothing else is ever taken for a message."""

import contextlib
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scanner_bridge import wire
from scanner_bridge.errors import ChecksumError, WireError
from scanner_bridge.volume import WIRE_DTYPES, Message, RunEnd, RunHeader, TriggerSummary, Volume
from scanner_bridge.wire import decode, encode, pack, unpack
from scanner_bridge.wire_headers import MAX_PAYLOAD_BYTES

finite = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**53 - 1)
affines = hnp.arrays(np.float64, (4, 4), elements=finite)
seconds = st.floats(1e-3, 1e3)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
shapes = st.tuples(*[st.integers(1, 6)] * 3)


@st.composite
def volumes(draw: st.DrawFn) -> Volume:
    dtype = np.dtype(draw(st.sampled_from(WIRE_DTYPES)))
    data = draw(hnp.arrays(dtype.newbyteorder(draw(st.sampled_from("<>"))), draw(shapes)))
    layout = draw(st.sampled_from(["C", "F", "strided", "reversed"]))
    if layout == "strided":
        data = np.repeat(data, 2, axis=0)[::2]
    elif layout == "reversed":
        data = data[::-1, ::-1, ::-1]
    else:
        data = np.array(data, order=layout)  # type: ignore[call-overload]
    due_s = draw(st.floats())
    return Volume(draw(counts), data, draw(affines), draw(seconds), draw(texts), due_s, draw(finite), draw(finite))


@st.composite
def run_headers(draw: st.DrawFn) -> RunHeader:
    shape = draw(shapes)
    times = draw(st.none() | st.tuples(*[finite] * shape[2]))
    return RunHeader(
        draw(texts), shape, draw(st.sampled_from(WIRE_DTYPES)), draw(affines), draw(seconds), draw(st.none() | counts),
        times, draw(texts), draw(texts), draw(finite),
    )  # fmt: skip


times = st.none() | finite
triggers = st.builds(TriggerSummary, counts, counts, counts, counts, counts, times, times, texts)
run_ends = st.builds(RunEnd, texts, counts, st.sampled_from(["complete", "aborted"]), texts, st.none() | triggers)
messages: st.SearchStrategy[Message] = volumes() | run_headers() | run_ends


def a_volume(**changes: Any) -> Volume:
    data = np.arange(60, dtype="<i2").reshape(5, 4, 3)
    return dataclasses.replace(Volume(7, data, np.eye(4), 1.5, "run-1", 12.25, 2.0, -1.0), **changes)


def a_run(**changes: Any) -> RunHeader:
    run = RunHeader("run-1", (5, 4, 3), "<i2", np.eye(4), 1.5, 10, (0.0, 0.5, 1.0), "test", "clock", 3.5)
    return dataclasses.replace(run, **changes)


def same(a: object, b: object) -> bool:
    """Equal by value, NaN equal to NaN, arrays equal bit for bit whatever their byte or memory order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return (
            a.shape == b.shape
            and a.dtype.newbyteorder("<").str == b.dtype.newbyteorder("<").str
            and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
        )
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


@given(messages)
def test_every_message_survives_the_round_trip(message: Message) -> None:
    frames = encode(message)
    assert [type(frame) for frame in frames] == [bytes, bytes]
    assert same(decode(frames), message)
    assert same(decode([memoryview(bytearray(frame)) for frame in frames]), message)
    assert unpack(pack(frames)) == frames


def test_voxels_travel_as_acquired_with_x_fastest() -> None:
    volume = a_volume()
    frames = encode(volume)
    assert frames[1] == volume.data.astype("<i2").tobytes(order="F")
    assert np.frombuffer(frames[1], "<i2")[1] == volume.data[1, 0, 0]


@pytest.mark.parametrize("message", [a_run(), RunEnd("run-1", 3, "aborted", "why")])
def test_only_a_volume_has_a_payload(message: Message) -> None:
    assert encode(message)[1] == b""


def test_decoded_arrays_are_read_only_views_of_the_payload() -> None:
    frames = encode(a_volume())
    volume = decode(frames)
    assert isinstance(volume, Volume)
    assert np.shares_memory(volume.data, np.frombuffer(frames[1], np.uint8))
    for array in (volume.data, volume.affine):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_an_unknown_due_time_stays_unknown() -> None:
    volume = decode(encode(a_volume(due_s=math.nan)))
    assert isinstance(volume, Volume)
    assert math.isnan(volume.due_s)


@pytest.mark.parametrize("message", [a_volume(), a_run(), RunEnd("run-1", 3)], ids=["volume", "run", "end"])
def test_a_message_cut_at_any_byte_is_refused(message: Message) -> None:
    frames = encode(message)
    for which in (0, 1):
        for n_bytes in range(len(frames[which])):
            cut = list(frames)
            cut[which] = frames[which][:n_bytes]
            with pytest.raises(WireError):
                decode(cut)
    blob = pack(frames)
    for n_bytes in range(len(blob)):
        with pytest.raises(WireError):
            unpack(blob[:n_bytes])


@pytest.mark.parametrize("message", [a_volume(), a_run(), RunEnd("run-1", 3)], ids=["volume", "run", "end"])
def test_every_single_bit_flip_is_noticed(message: Message) -> None:
    frames = encode(message)
    for which in (0, 1):
        for bit in range(8 * len(frames[which])):
            flipped = [bytearray(frame) for frame in frames]
            flipped[which][bit // 8] ^= 1 << (bit % 8)
            with pytest.raises(WireError):
                decode([bytes(frame) for frame in flipped])


@given(st.data())
@settings(max_examples=30)
def test_flips_in_a_large_payload_are_checksum_errors(data: st.DataObject) -> None:
    frames = encode(a_volume(data=np.zeros((64, 64, 36), np.int16)))
    payload = bytearray(frames[1])
    for position in data.draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=3, unique=True)):
        payload[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ChecksumError):
        decode([frames[0], bytes(payload)])


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_random_bytes_are_never_a_message(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode(frames)


def with_true_checksums(head: bytes, payload: bytes, kind: int = 2) -> list[bytes]:
    """A frame pair whose lengths and checksums are right whatever the header holds."""
    prefix = wire._PREFIX.pack(b"IWV1", 1, kind, len(head), len(payload), wire._crc32c(payload))
    return [prefix + wire._CRC.pack(wire._crc32c(prefix + head)) + head, payload]


@given(st.binary(max_size=300), st.binary(max_size=100), st.integers(1, 3))
@settings(max_examples=300)
def test_any_header_under_true_checksums_is_a_message_or_a_wire_error(head: bytes, payload: bytes, kind: int) -> None:
    with pytest.raises(WireError):  # 300 random bytes do not spell all field names
        decode(with_true_checksums(head, payload, kind))


def test_deeply_nested_headers_are_refused() -> None:
    for kind in (1, 2, 3):
        with pytest.raises(WireError):
            decode(with_true_checksums(b"\x91" * 60_000, b"", kind))
        with pytest.raises(WireError):
            decode(with_true_checksums(b"\x81\xa5index" + b"\x91" * 60_000, b"", kind))


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "|O"}, {"dtype": ">i2"}, {"dtype": "<i8"}, {"shape": [5, 4, 4]}, {"shape": [5, 12]},
        {"shape": [0, 4, 3]},
        {"shape": [65535, 65535, 65535]}, {"shape": [-5, -4, 3]}, {"index": -1}, {"index": 1.5}, {"affine": [1.0] * 15},
        {"affine": [math.nan] * 16}, {"tr_s": 0.0}, {"tr_s": math.inf}, {"slope": math.nan}, {"extra": 1},
        {"run_id": 7}, {"run_id": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_header_that_lies_is_refused(changes: dict[str, object]) -> None:
    import msgspec

    frames = encode(a_volume())
    fields = msgspec.msgpack.decode(frames[0][wire._PREFIX_BYTES :])
    head = msgspec.msgpack.encode({**fields, **changes})
    with pytest.raises(WireError):
        decode(with_true_checksums(head, frames[1]))


@pytest.mark.parametrize(
    "message",
    [
        a_volume(data=np.zeros((2, 2, 2), np.int64)), a_volume(data=np.zeros((2, 2, 2), np.complex64)),
        a_volume(data=np.zeros((2, 2), np.int16)), a_volume(data=np.zeros((2, 0, 2), np.int16)),
        a_volume(data=np.empty((2, 2, 2), object)), a_volume(data=np.broadcast_to(np.uint8(0), (1024, 1024, 65))),
        a_volume(affine=np.eye(3)), a_volume(affine=np.full((4, 4), np.nan)), a_volume(tr_s=0.0), a_volume(index=-1),
        a_volume(index=2**70), a_volume(run_id="x" * 70_000), a_volume(run_id="\ud800"), a_volume(inter=math.inf),
        a_run(dtype=">i2"), a_run(slice_times_s=(0.0,)), a_run(n_volumes=-1), a_run(shape=(2, 2)), a_run(tr_s="fast"),
        RunEnd("r", 1, trigger=TriggerSummary(1, 0, 0, 0, 0, math.nan, None, "")),
        RunEnd("r", 1, "finished"), "a text", None,  # type: ignore[arg-type]
    ],
    ids=lambda message: type(message).__name__,
)  # fmt: skip
def test_what_cannot_cross_is_refused_before_it_is_sent(message: Any) -> None:
    with pytest.raises(WireError):
        encode(message)


@pytest.mark.parametrize("frames", [[], [b""], [b"", b"", b""], ["text", "text"], [1, 2], [None, b""]], ids=str)
def test_what_is_not_two_frames_of_bytes_is_refused(frames: Any) -> None:
    with pytest.raises(WireError):
        decode(frames)


def test_oversized_frames_are_refused_unread() -> None:
    frames = encode(a_volume())
    with pytest.raises(WireError, match="takes"):
        decode([frames[0], bytes(MAX_PAYLOAD_BYTES + 1)])
    with pytest.raises(WireError, match="takes"):
        decode([frames[0] + bytes(wire.MAX_HEADER_BYTES), frames[1]])


@given(st.lists(st.binary(max_size=50), max_size=wire.MAX_PACKED_FRAMES))
def test_any_frames_can_be_packed(frames: list[bytes]) -> None:
    assert unpack(pack(frames)) == frames


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: b"IWP1\x02\0\0\0" + tail))
def test_unpacking_any_bytes_gives_frames_or_a_wire_error(blob: bytes) -> None:
    with contextlib.suppress(WireError):
        assert pack(unpack(blob)) == blob


def test_more_frames_than_a_message_can_have_are_not_packed() -> None:
    with pytest.raises(WireError, match="17"):
        pack([b""] * 17)
    with pytest.raises(WireError, match="left"):
        unpack(pack([b"a"]) + b"x")


def test_an_end_without_a_trigger_has_the_bytes_it_had_before_there_was_one() -> None:
    import msgspec

    head, _ = encode(RunEnd("r", 1))
    with_trigger, _ = encode(RunEnd("r", 1, trigger=TriggerSummary(0, 0, 0, 0, 0, None, None, "")))
    fields = msgspec.msgpack.decode(head[wire._PREFIX_BYTES :])
    assert fields == {"run_id": "r", "n_volumes": 1, "status": "complete", "reason": ""}
    assert "trigger" in msgspec.msgpack.decode(with_trigger[wire._PREFIX_BYTES :])
