"""Whatever the network and the receiver do, what was submitted arrives once, in order, and stays."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scanner_bridge.envelope import ENVELOPE_VERSION, Envelope, Kind, Stamps
from scanner_bridge.errors import RefusedError, TransportError, VersionError, WireError
from scanner_bridge.outbox import Outgoing
from scanner_bridge.receiver import MAX_REQUESTS, Accept, Answer, Receiver, Rejected
from scanner_bridge.sender import MAX_PATIENCE_S, Held, Sender
from scanner_bridge.volume import RunEnd
from scanner_bridge.wire import encode

NONCE = b"n" * 16
OTHER = b"o" * 16


def message(number: int) -> list[bytes]:
    return encode(RunEnd("run", number))


def data(seq: int, first_seq: int = 0, nonce: bytes = NONCE) -> Envelope:
    return Envelope(Kind.DATA, nonce, seq, first_seq)


class Bridge:
    """A sender and the messages it sends, as a spool holds them over any number of its lives."""

    def __init__(self, nonce: bytes = NONCE, window: int = 32) -> None:
        self.messages: list[list[bytes]] = []
        self._window = window
        self.sender = Sender(nonce, window=window, timeout_s=1.0)

    def submit(self, *messages: list[bytes]) -> None:
        self.messages += messages
        self.sender.hold(len(self.messages))

    def to_send(self, now_s: float) -> list[Outgoing]:
        return [Outgoing(envelope, self.messages[envelope.seq]) for envelope in self.sender.to_send(now_s)]

    def die_and_start_again(self, knows_acknowledged: bool) -> None:
        before = self.sender.acknowledged if knows_acknowledged else 0
        self.sender = Sender(self.sender.nonce, Held(0, before, len(self.messages)), window=self._window, timeout_s=1.0)


def damaged(frames: Sequence[bytes]) -> list[bytes]:
    return [frames[0][:-1] + bytes([frames[0][-1] ^ 1]), frames[1]]


class AnySchedule(RuleBasedStateMachine):
    """Two senders, one receiver, and links that lose, repeat, delay, reorder and damage."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.bridges = [Bridge(nonce, window=4) for nonce in (NONCE, OTHER)]
        self.to_receiver: list[Outgoing] = []
        self.to_senders: list[Envelope] = []
        self.receiver = Receiver()
        self.handed_out: list[Accept | Rejected] = []
        self.log: list[Accept | Rejected] = []

    def deliver(self, outgoing: Outgoing, frames: Sequence[bytes]) -> None:
        verdict = self.receiver.on_data(outgoing.envelope, frames)
        if isinstance(verdict, Answer):
            if verdict.envelope is not None:
                self.to_senders.append(verdict.envelope)
                if verdict.envelope.kind is Kind.ACK:
                    assert verdict.envelope.seq <= len(self.stored(verdict.envelope.nonce))
        else:
            self.handed_out.append(verdict)

    @rule(which=st.integers(0, 1))
    def submit(self, which: int) -> None:
        bridge = self.bridges[which]
        bridge.submit(message(len(bridge.messages)))
        self.to_receiver += bridge.to_send(self.now_s)

    @rule(wait_s=st.sampled_from([0.0, 0.4, 1.0]))
    def send_what_is_due(self, wait_s: float) -> None:
        self.now_s += wait_s
        for bridge in self.bridges:
            self.to_receiver += bridge.to_send(self.now_s)

    @rule(which=st.integers(0, 1), knows_acknowledged=st.booleans())
    def bridge_crashes(self, which: int, knows_acknowledged: bool) -> None:
        self.bridges[which].die_and_start_again(knows_acknowledged)

    @precondition(lambda self: self.to_receiver)
    @rule(draw=st.data(), fate=st.sampled_from(["arrives", "arrives twice", "arrives again later", "lost", "damaged"]))
    def a_message_on_the_way(self, draw: st.DataObject, fate: str) -> None:
        outgoing = self.to_receiver.pop(draw.draw(st.integers(0, len(self.to_receiver) - 1)))
        if fate == "arrives again later":
            self.to_receiver.append(outgoing)
        if fate == "arrives twice":
            self.deliver(outgoing, outgoing.frames)
        if fate != "lost":
            self.deliver(outgoing, damaged(outgoing.frames) if fate == "damaged" else outgoing.frames)

    @precondition(lambda self: self.to_senders)
    @rule(draw=st.data(), fate=st.sampled_from(["arrives", "arrives", "arrives twice", "lost"]))
    def an_answer_on_the_way(self, draw: st.DataObject, fate: str) -> None:
        answer = self.to_senders.pop(draw.draw(st.integers(0, len(self.to_senders) - 1)))
        if fate == "arrives twice":
            self.to_senders.append(answer)
        if fate != "lost":
            for bridge in self.bridges:
                bridge.sender.on_answer(answer, self.now_s)

    @precondition(lambda self: self.handed_out)
    @rule()
    def store_and_acknowledge(self) -> None:
        verdict = self.handed_out.pop(0)
        self.log.append(verdict)
        self.to_senders.append(self.receiver.acknowledge(verdict.nonce, verdict.seq))

    @precondition(lambda self: self.handed_out)
    @rule()
    def crash_between_store_and_acknowledge(self) -> None:
        self.log.append(self.handed_out.pop(0))
        self.crash()

    @rule()
    def crash(self) -> None:
        self.handed_out = []
        self.receiver = Receiver({nonce: len(self.stored(nonce)) for nonce in (NONCE, OTHER)})

    @rule()
    def socket_breaks_and_connects_again(self) -> None:
        self.to_receiver = []
        for bridge in self.bridges:
            bridge.sender.send_again()

    def stored(self, nonce: bytes) -> list[Accept | Rejected]:
        return [verdict for verdict in self.log if verdict.nonce == nonce]

    @invariant()
    def the_log_is_a_prefix_of_what_was_submitted(self) -> None:
        for bridge in self.bridges:
            stored = self.stored(bridge.sender.nonce)
            assert [verdict.seq for verdict in stored] == list(range(len(stored)))
            for verdict in stored:
                whole = bridge.messages[verdict.seq]
                wanted = whole[0] if isinstance(verdict, Accept) else damaged(whole)[0]
                assert verdict.frames[0] == wanted

    @invariant()
    def nothing_acknowledged_is_missing_from_the_log(self) -> None:
        for bridge in self.bridges:
            assert bridge.sender.acknowledged <= len(self.stored(bridge.sender.nonce))

    def teardown(self) -> None:
        for _ in range(50):
            self.now_s += MAX_PATIENCE_S
            for bridge in self.bridges:
                self.to_receiver += bridge.to_send(self.now_s)
            while self.to_receiver or self.handed_out or self.to_senders:
                if self.to_receiver:
                    outgoing = self.to_receiver.pop(0)
                    self.deliver(outgoing, outgoing.frames)
                if self.handed_out:
                    self.store_and_acknowledge()
                if self.to_senders:
                    answer = self.to_senders.pop(0)
                    for bridge in self.bridges:
                        bridge.sender.on_answer(answer, self.now_s)
        assert [bridge.sender.unacknowledged for bridge in self.bridges] == [0, 0]
        self.the_log_is_a_prefix_of_what_was_submitted()
        for bridge in self.bridges:
            assert len(self.stored(bridge.sender.nonce)) == len(bridge.messages)


TestAnySchedule = AnySchedule.TestCase
TestAnySchedule.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def seqs(envelopes: list[Envelope]) -> list[int]:
    return [envelope.seq for envelope in envelopes]


def test_the_window_limits_what_is_on_its_way_and_not_what_is_held() -> None:
    sender = Sender(NONCE, Held(0, 0, 5), window=2)
    assert seqs(sender.to_send(0.0)) == [0, 1]
    assert sender.unacknowledged == 5
    sender.on_answer(Envelope(Kind.ACK, NONCE, 1), 0.1)
    assert seqs(sender.to_send(0.1)) == [2]


def test_a_message_is_sent_once_until_its_timeout_and_at_once_on_request() -> None:
    sender = Sender(NONCE, timeout_s=1.0)
    assert sender.next_due_s() is None
    sender.hold(3)
    assert sender.next_due_s() == float("-inf")
    assert seqs(sender.to_send(10.0)) == [0, 1, 2]
    assert sender.to_send(10.9) == []
    assert sender.next_due_s() == 11.0
    sender.on_answer(Envelope(Kind.RESEND, NONCE, 1), 10.0)
    assert seqs(sender.to_send(10.9)) == [1, 2]
    assert seqs(sender.to_send(11.0)) == [0]


def test_a_slow_link_is_not_filled_with_repetitions() -> None:
    sender, now_s, n_sent, busy_until_s = Sender(NONCE, Held(0, 0, 30), timeout_s=1.0), 0.0, 0, 0.0
    on_the_link: list[tuple[float, int]] = []
    while sender.unacknowledged:
        for envelope in sender.to_send(now_s):  # a link that takes 2.4 s per message, one after the other
            n_sent += 1
            busy_until_s = max(now_s, busy_until_s) + 2.4
            on_the_link.append((busy_until_s, envelope.seq))
        now_s += 0.1
        while on_the_link and on_the_link[0][0] <= now_s:
            sender.on_answer(Envelope(Kind.ACK, NONCE, on_the_link.pop(0)[1] + 1), now_s)
    assert n_sent < 6 * 30
    assert now_s < 6 * 30 * 2.4


def test_a_sender_that_starts_again_goes_on_where_the_receiver_is() -> None:
    sender, receiver = Sender(NONCE, Held(0, 2, 9)), Receiver({NONCE: 5})  # the last acknowledgements were lost
    for envelope in sender.to_send(0.0)[:1]:
        verdict = receiver.on_data(envelope, message(envelope.seq))
        assert isinstance(verdict, Answer)
        assert verdict.envelope == Envelope(Kind.ACK, NONCE, 5)
        sender.on_answer(verdict.envelope, 0.1)
    assert sender.unacknowledged == 4


def test_a_receiver_that_lost_its_record_is_sent_everything_that_is_held() -> None:
    sender, receiver = Sender(NONCE, Held(0, 5, 8)), Receiver()
    verdict = receiver.on_data(sender.to_send(0.0)[0], message(5))
    assert isinstance(verdict, Answer)
    assert verdict.envelope == Envelope(Kind.RESEND, NONCE, 0)
    sender.on_answer(verdict.envelope, 0.1)
    assert seqs(sender.to_send(0.1)) == list(range(8))


def test_a_hole_is_asked_for_once() -> None:
    receiver = Receiver()
    assert receiver.on_data(data(1), message(1)) == Answer(Envelope(Kind.RESEND, NONCE, 0))
    assert receiver.on_data(data(2), message(2)) == Answer(None)
    assert isinstance(receiver.on_data(data(0), message(0)), Accept)


def test_a_duplicate_is_acknowledged_only_as_far_as_it_was_stored() -> None:
    receiver = Receiver()
    receiver.on_data(data(0), message(0))
    assert receiver.on_data(data(0), message(0)) == Answer(Envelope(Kind.ACK, NONCE, 0))
    assert receiver.acknowledge(NONCE, 0) == Envelope(Kind.ACK, NONCE, 1)
    assert receiver.on_data(data(0), message(0)) == Answer(Envelope(Kind.ACK, NONCE, 1))


def test_damaged_frames_are_asked_for_three_times_and_then_kept_as_they_came() -> None:
    receiver = Receiver()
    bad = damaged(message(0))
    for _ in range(MAX_REQUESTS):
        assert receiver.on_data(data(0), bad) == Answer(Envelope(Kind.RESEND, NONCE, 0))
    verdict = receiver.on_data(data(0), bad)
    assert isinstance(verdict, Rejected)
    assert verdict.frames == bad
    assert "CRC32C" in verdict.reason
    assert isinstance(receiver.on_data(data(1), message(1)), Accept)


@pytest.mark.parametrize("seqs", [[1], [0, 0], [0, 1, 2], [2]])
def test_acknowledging_out_of_order_is_refused(seqs: list[int]) -> None:
    receiver = Receiver()
    receiver.on_data(data(0), message(0))
    receiver.on_data(data(1), message(1))
    for seq in seqs[:-1]:
        receiver.acknowledge(NONCE, seq)
    with pytest.raises(TransportError, match="in the order it was received"):
        receiver.acknowledge(NONCE, seqs[-1])


def test_a_receiver_without_its_record_refuses_what_is_not_held_any_more_and_the_sender_says_so() -> None:
    sender = Sender(NONCE, Held(1, 1, 2))
    verdict = Receiver().on_data(sender.to_send(0.0)[0], message(1))
    assert verdict == Answer(Envelope(Kind.REFUSE, NONCE, 0))
    with pytest.raises(RefusedError, match="without its record"):
        sender.on_answer(Envelope(Kind.REFUSE, NONCE, 0), 10.0)


def test_an_acknowledgement_of_what_was_never_sent_is_an_error() -> None:
    with pytest.raises(TransportError, match="only 0 were sent"):
        Sender(NONCE).on_answer(Envelope(Kind.ACK, NONCE, 1), 10.0)


def test_answers_to_another_stream_change_nothing() -> None:
    sender = Sender(NONCE, Held(0, 0, 1))
    sender.on_answer(Envelope(Kind.ACK, OTHER, 1), 10.0)
    assert sender.unacknowledged == 1


@pytest.mark.parametrize("arguments", [{"nonce": b"short"}, {"window": 0}, {"timeout_s": 0.0}], ids=str)
def test_a_sender_refuses_settings_that_cannot_work(arguments: dict[str, object]) -> None:
    with pytest.raises(TransportError):
        Sender(**{"nonce": NONCE, **arguments})  # type: ignore[arg-type]


@given(st.sampled_from(Kind), st.binary(min_size=16, max_size=16), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_envelopes_survive_the_round_trip(kind: Kind, nonce: bytes, seq: int, first_seq: int) -> None:
    envelope = Envelope(kind, nonce, seq, first_seq)
    assert Envelope.from_bytes(envelope.to_bytes()) == envelope


def test_an_envelope_cut_or_changed_anywhere_is_refused() -> None:
    whole = data(5).to_bytes()
    for n_bytes in range(len(whole)):
        with pytest.raises(WireError):
            Envelope.from_bytes(whole[:n_bytes])
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(WireError):
            Envelope.from_bytes(bytes(changed))


def test_a_peer_of_another_version_is_told_apart_from_a_stranger() -> None:
    whole = data(5).to_bytes()
    with pytest.raises(VersionError, match=f"speaks version 1 .* this one {ENVELOPE_VERSION}: run the same release"):
        Envelope.from_bytes(whole[:3] + b"1" + whole[4:])


@given(st.floats(), st.floats(), st.floats())
def test_time_stamps_survive_the_round_trip(origin_s: float, receive_s: float, transmit_s: float) -> None:
    stamps = Stamps(origin_s, receive_s, transmit_s)
    assert Stamps.from_bytes(stamps.to_bytes()).to_bytes() == stamps.to_bytes()
    with pytest.raises(WireError):
        Stamps.from_bytes(stamps.to_bytes()[:-1])


@given(st.binary(max_size=60))
def test_random_bytes_are_never_an_envelope(frame: bytes) -> None:
    with pytest.raises(WireError):
        Envelope.from_bytes(frame)
