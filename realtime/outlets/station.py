"""The outlets' process: follows the bus, reads every message by its type, and hands it to each outlet."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from realtime.bus import BusSettings
from realtime.bus_remote import Remote
from realtime.errors import SessionError
from realtime.outlet_settings import OutletsSettings
from realtime.outlets.afni import AfniStream
from realtime.outlets.door import Door
from realtime.outlets.emulators import Emulators
from realtime.outlets.pyneal import PynealResults
from realtime.topics import About, read
from scanner_bridge.keys import ServerKeys, load_server_keys

logger = logging.getLogger(__name__)


class Outlet(Protocol):
    """One way out. `hear` returns at once."""

    def hear(self, message: msgspec.Struct) -> None:
        """Take in what the session says."""
        ...

    async def open(self) -> None:
        """Be there for others; RealtimeError when that cannot be."""
        ...

    async def run(self) -> None:
        """Serve, until cancelled."""
        ...


@dataclass
class Station:
    """All outlets of a session.

    Parameters
    ----------
    bus : BusSettings
        Where the session is heard.
    settings : OutletsSettings
        Which outlets there are.

    Raises
    ------
    RealtimeError, BridgeError
        An outlet that cannot be: keys that cannot be read, an address that may not be listened on, pylsl missing.
    """

    bus: BusSettings
    settings: OutletsSettings

    def __post_init__(self) -> None:
        self.remote = Remote(self.bus, self.hear)
        self.door = Door(self.settings.door, self.remote.tell, _keys(self.settings))
        self.outlets: list[Outlet] = [self.door, *_others(self.settings, self.bus.session, self.remote.tell)]

    async def run(self, opened: Callable[[str], None]) -> None:
        """Until cancelled; `opened` hears where the door is, once all outlets are open.

        Raises
        ------
        RealtimeError
            An outlet cannot open.
        """
        for outlet in self.outlets:
            await outlet.open()
        opened(self.door.endpoint)
        async with asyncio.TaskGroup() as running:
            running.create_task(self.remote.follow(), name="bus")
            for outlet in self.outlets:
                running.create_task(outlet.run(), name=type(outlet).__name__)

    def hear(self, topic: str, payload: dict[str, Any]) -> None:
        """Take one message of the bus in, if it is one; of another protocol only what it is."""
        if topic == "connection":
            self.door.connected = bool(payload.get("up"))
            return
        message = read(topic, payload)
        if message is None and topic == "about" and isinstance(payload.get("protocol"), int):
            message = _foreign(payload["protocol"])
        if message is None:
            return
        for outlet in self.outlets:
            try:
                outlet.hear(message)
            except Exception:  # one outlet's trouble is not the others', and the next message may do better
                logger.exception("%s could not take %s in", type(outlet).__name__, topic)


def _foreign(protocol: int) -> About:
    """What can be said of a session whose messages are of another protocol."""
    nothing: dict[str, Any] = {name: None for name in About.__struct_fields__}
    return About(**{**nothing, "protocol": protocol, "session": ""})


def _keys(settings: OutletsSettings) -> ServerKeys | None:
    if settings.server_key is None or settings.client_keys is None:
        return None
    return load_server_keys(settings.server_key, sorted(settings.client_keys.glob("*.key")))


def _others(settings: OutletsSettings, session: str, tell: Callable[[str, msgspec.Struct], Awaitable[None]],
            ) -> list[Outlet]:
    """The outlets besides the door that the settings ask for."""
    others: list[Outlet] = []
    if settings.pyneal_at is not None:
        others.append(PynealResults(settings.pyneal_at.host, settings.pyneal_at.port))
    if settings.afni_at is not None:
        others.append(AfniStream(settings.afni_at.host, settings.afni_at.port))
    if settings.emulators:
        others.append(Emulators(tell))
    if settings.lsl:
        try:
            from realtime.outlets.lsl import LslOutlets  # noqa: PLC0415 - optional, and half a second
        except (ImportError, RuntimeError) as exc:
            raise SessionError(f"outlets.lsl needs pylsl, which does not load ({exc}); install it: pip install "
                               '"innerear[lsl]", or leave it out') from exc
        others.append(LslOutlets(session))
    return others
