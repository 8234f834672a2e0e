"""Fixtures of the fault tests: a scanner room with everything real in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import make_certificates
from tests.processes import World, make_world
from tests.scanner_room import N_VOLUMES, Operator, Room
from tests.test_bus import BrokerProcess


@pytest.fixture(autouse=True)
def own_spools(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bridges of one test never find what those of another left behind."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def room_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), N_VOLUMES)


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerProcess]:
    with BrokerProcess() as process:
        yield process


@pytest.fixture
def room(room_world: World, tmp_path: Path) -> Room:
    return Room(room_world, tmp_path / tmp_path.name)  # a broker keeps the last state of every name


@pytest.fixture
def watched(room: Room, broker: BrokerProcess) -> Iterator[tuple[Room, Operator]]:
    room.broker_port = broker.port
    with Operator(room) as operator:
        yield room, operator


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"))
