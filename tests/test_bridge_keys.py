"""Who may come in: keys, and what both sides say to those who may not."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from scanner_bridge.client import BridgeClient
from scanner_bridge.errors import TransportError
from scanner_bridge.keys import ClientKeys, load_client_keys, load_server_keys, write_key_files
from scanner_bridge.sockets import new_key_pair
from tests.live_end import a_header, a_volume, live_program


@dataclass(frozen=True)
class KeyFiles:
    live: tuple[Path, Path]
    bridge: tuple[Path, Path]
    stranger: tuple[Path, Path]

    def client(self, own: tuple[Path, Path]) -> ClientKeys:
        return load_client_keys(own[1], self.live[0])


@pytest.fixture
def keys(tmp_path: Path) -> KeyFiles:
    return KeyFiles(*(write_key_files(tmp_path, name, new_key_pair()) for name in ("live", "bridge", "stranger")))


def test_only_a_bridge_with_a_known_key_comes_in(keys: KeyFiles, tmp_path: Path) -> None:
    with live_program(keys=load_server_keys(keys.live[1], [keys.bridge[0]])) as program:
        with BridgeClient(program.endpoint, keys=keys.client(keys.bridge)) as client:
            client.send(a_header())
            client.send(a_volume(0))
            client.flush(10)
        wrong_server = load_client_keys(keys.bridge[1], keys.stranger[0])
        for number, intruder in enumerate((keys.client(keys.stranger), wrong_server, None)):
            with BridgeClient(program.endpoint, keys=intruder, spool=tmp_path / f"spool-{number}") as client:
                client.send(a_header())
                with pytest.raises(TransportError, match="not stored"):
                    client.flush(0.4)
        assert program.indices == [0]


def test_an_unknown_key_is_named_as_the_reason(keys: KeyFiles) -> None:
    with live_program(keys=load_server_keys(keys.live[1], [keys.bridge[0]])) as program:
        with BridgeClient(program.endpoint, keys=keys.client(keys.stranger)) as client:
            client.send(a_header())
            with pytest.raises(TransportError, match="does not know this bridge's key"):
                client.flush(1.5)


def test_a_secret_key_that_others_can_read_is_refused(keys: KeyFiles) -> None:
    assert keys.live[1].stat().st_mode & 0o777 == 0o600
    keys.live[1].chmod(0o640)
    with pytest.raises(TransportError, match="mode 0640, wanted 0600: run chmod 600"):
        load_server_keys(keys.live[1], [keys.bridge[0]])


def test_key_files_that_cannot_serve_are_named(keys: KeyFiles, tmp_path: Path) -> None:
    keys.bridge[0].chmod(0o600)
    with pytest.raises(TransportError, match="holds no secret key"):
        load_client_keys(keys.bridge[0], keys.live[0])
    with pytest.raises(TransportError, match="missing"):
        load_client_keys(keys.bridge[1], tmp_path / "missing.key")
    with pytest.raises(TransportError, match="nobody could connect"):
        load_server_keys(keys.live[1], [])
    with pytest.raises(TransportError, match="cannot write keys"):
        write_key_files(tmp_path, "live", new_key_pair())
    empty = tmp_path / "empty.key"
    empty.touch()
    with pytest.raises(TransportError, match="holds no public key"):
        load_server_keys(keys.live[1], [empty])
