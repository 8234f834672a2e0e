"""The preflight with everything real: a link that is broken is named with what to do, and the whole way is walked."""

import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from realtime.broker import free_port
from realtime.config import BridgeSettings, BrokerSettings, ConsoleSettings, LiveSettings, PlaybackSettings
from realtime.console.findings import LINKS, Finding, first_broken
from realtime.console.preflight import preflight
from realtime.playback.latch import Latch
from realtime.session.folder import SessionFolder
from tests.loopback import free_endpoint
from tests.processes import World, command
from tests.test_bus import BrokerProcess


@pytest.fixture
def settings(room_world: World, tmp_path: Path, broker: BrokerProcess) -> LiveSettings:
    return LiveSettings(
        room_world.bundle, room_world.catalogue, tmp_path / "session", room_world.events,
        bridge=BridgeSettings(free_endpoint()), playback=PlaybackSettings(sink="wav"),
        bus=BrokerSettings(f"mqtt://127.0.0.1:{broker.port}"), console=ConsoleSettings(source=str(room_world.folder)))


def walked(settings: LiveSettings, whole: bool = False) -> dict[str, Finding]:
    found = list(preflight(settings, whole))
    assert [finding.link for finding in found] == list(LINKS)
    return {finding.link: finding for finding in found}


def broken(settings: LiveSettings) -> Finding:
    found = first_broken(walked(settings).values())
    assert found is not None
    return found


def test_the_whole_way_is_walked_by_a_simulated_scanner_and_leaves_nothing_in_the_session(
        settings: LiveSettings, tmp_path: Path) -> None:
    config = tmp_path / "live.toml"
    config.write_text(f'bundle = "{settings.bundle}"\ncatalogue = "{settings.catalogue}"\n'
                      f'session = "{settings.session}"\n'
                      f'[bridge]\nendpoint = "{settings.bridge.endpoint}"\n[playback]\nsink = "wav"\n'
                      f'[bus]\nbroker = "{settings.bus.broker}"\n[console]\nsource = "{settings.console.source}"\n')
    done = subprocess.run(command("check", "--config", config), capture_output=True, text=True, check=False,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    assert [line[0] for line in done.stdout.splitlines()] == len(LINKS) * ["✓"]
    assert "24 simulated volumes passed bridge, broker, decoder and player" in done.stdout
    assert not settings.session.exists()


def test_links_are_named_as_they_break(settings: LiveSettings, tmp_path: Path) -> None:
    gone = replace(settings, console=ConsoleSettings(source=str(tmp_path / "share")))
    assert broken(gone).link == "share and port"
    assert "mount the scanner's share" in broken(gone).sentence
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = replace(settings, bridge=BridgeSettings(f"tcp://127.0.0.1:{other.getsockname()[1]}"))
        assert broken(taken).link == "share and port"
        assert "stop the program that holds it" in broken(taken).sentence
    keyless = BridgeSettings(settings.bridge.endpoint, tmp_path / "none.key_secret", tmp_path)
    assert broken(replace(settings, bridge=keyless)).link == "bridge"
    unbundled = replace(settings, bundle=tmp_path / "nothing")
    assert broken(unbundled).link == "decoder"
    assert walked(unbundled, whole=True)["dry run"].sentence == "not tried: mend what is broken first"
    nobody = replace(settings, bus=BrokerSettings(f"mqtt://127.0.0.1:{free_port()}"))
    assert broken(nobody).link == "broker"
    assert "start it" in broken(nobody).sentence
    settings.session.mkdir()
    Latch(SessionFolder(settings.session).played).hold("a test")
    assert broken(settings).link == "audio"
    assert "innerear sound rearm" in broken(settings).sentence


def test_what_cannot_be_seen_from_here_is_said_to_be_unchecked(settings: LiveSettings) -> None:
    blind = replace(settings, console=ConsoleSettings(), bus=BrokerSettings())
    found = walked(blind)
    assert {link for link, finding in found.items() if finding.mark == "open"} == {"scanner", "broker", "dry run"}
    assert all(found[link].sentence for link in LINKS)
