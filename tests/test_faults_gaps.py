"""A live session that waits for a volume: not for ever, and the same when it is replayed."""

from dataclasses import replace

from realtime.session.folder import SessionFolder
from realtime.session.record import read_documents
from tests.processes import finish, until
from tests.scanner_room import N_VOLUMES, Operator, Room, Scanner, live


def test_a_volume_that_does_not_come_is_a_gap_by_a_deadline_that_the_journal_holds(room: Room) -> None:
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(6)
        until(lambda: len(room.steps()) == 6, "six steps")
        scanner.send(scanner.run[7])  # and nothing more for a while
        until(lambda: len(room.steps()) == 8, "it is used without 6")
        assert [step["status"] for step in room.steps()][6:] == ["GAP", "OK"]
        scanner.send(scanner.run[6], *scanner.run[8:])
        scanner.end()
        finish(process)
    assert room.events() == ["overdue"]
    assert "volume 6 came after later ones" in room.documents("note")[0]["text"]
    timed = [entry["volume"] for entry in read_documents(SessionFolder(room.session).timing) if "cue" not in entry]
    assert timed == [index for index in range(N_VOLUMES) if index != 6]
    room.verify()


def test_a_damaged_index_makes_no_gaps_and_the_operator_hears_it(watched: tuple[Room, Operator]) -> None:
    room, operator = watched
    with live(room) as process, Scanner(room, N_VOLUMES) as scanner:
        scanner.scan(9)
        scanner.send(replace(scanner.run[9], index=900))
        scanner.scan(N_VOLUMES)
        operator.await_alarm("volume 900 came when it was volume 9's turn")
        scanner.end()
        finish(process)
    assert room.steps() == room.undisturbed(N_VOLUMES)
    summary = room.summary()
    assert (summary["gaps"], summary["rejected"]) == (0, 1)
    room.verify()
