"""The other end of the bus: who follows a session's status and sends it commands."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiomqtt
import msgspec

from realtime.broker_address import certificate_trouble
from realtime.bus import CALL_TIMEOUT_S, NO_DELAY, BusSettings
from realtime.errors import SessionError
from realtime.topics import Command

_KEEPALIVE_S = 2
_RETRY_S = 0.5


class Remote:
    """Follows one session for as long as `follow` runs; comes back when the broker does.

    Parameters
    ----------
    settings : BusSettings
        Where the broker is.
    hear : callable
        Gets every status message, (topic, payload), and ("connection", {"up": bool}) whenever the line comes or goes.

    Raises
    ------
    ConfigError
        The files of an encrypted connection cannot be used.
    """

    def __init__(self, settings: BusSettings, hear: Callable[[str, dict[str, Any]], None]) -> None:
        self._settings, self._hear = settings, hear
        self._tls = None if settings.tls is None else settings.tls.context()
        self._client: aiomqtt.Client | None = None

    async def follow(self) -> None:
        """Pass on what the session says, until cancelled."""
        base = f"innerear/{self._settings.session}/"
        while True:
            with suppress(aiomqtt.MqttError):
                async with self._connection(_KEEPALIVE_S) as client:
                    await client.subscribe(base + "#", qos=1)
                    self._client = client
                    self._hear("connection", {"up": True})
                    async for message in client.messages:
                        self._pass_on(str(message.topic).removeprefix(base), message.payload)
            self._client = None
            self._hear("connection", {"up": False})
            await asyncio.sleep(_RETRY_S)

    async def command(self, name: str, text: str = "", value: float | None = None) -> None:
        """Send a command to the live program; SessionError when the broker is not there."""
        await self.tell("command", Command(name, text, value), f"the command {name!r}")  # type: ignore[arg-type]

    async def tell(self, topic: str, message: msgspec.Struct, what: str = "") -> None:
        """Say something below the session's topic, and wait until the broker has it.

        Raises
        ------
        SessionError
            The broker is not there.
        """
        client = self._client
        try:
            if client is None:
                raise aiomqtt.MqttError("not connected")
            await client.publish(f"innerear/{self._settings.session}/{topic}", msgspec.json.encode(message), qos=1)
        except aiomqtt.MqttError as exc:
            raise SessionError(f"{what or topic} was not sent: the broker {self._settings.host}:"
                               f"{self._settings.port} does not answer ({exc}); start it again. STOP needs no "
                               "broker") from exc

    async def round_trip_s(self) -> float:
        """Seconds from publishing a message to hearing it.

        Raises
        ------
        SessionError
            No broker there that passes messages on within `CALL_TIMEOUT_S`.
        """
        topic = f"innerear/{self._settings.session}/preflight"
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S), self._connection(int(CALL_TIMEOUT_S)) as client:
                await client.subscribe(topic, qos=1)
                begun_s = time.monotonic()
                await client.publish(topic, b"{}", qos=1)
                async for _ in client.messages:
                    break
                return time.monotonic() - begun_s
        except (aiomqtt.MqttError, TimeoutError) as exc:
            why = certificate_trouble(exc) or str(exc) or "no answer"
            raise SessionError(f"the broker {self._settings.host}:{self._settings.port} does not pass messages on "
                               f"({why}); start it (systemctl start mosquitto), or correct bus.broker") from exc

    def _connection(self, keepalive_s: int) -> aiomqtt.Client:
        return aiomqtt.Client(self._settings.host, self._settings.port, tls_context=self._tls, timeout=CALL_TIMEOUT_S,
                              keepalive=keepalive_s, socket_options=[NO_DELAY])

    def _pass_on(self, topic: str, payload: Any) -> None:
        if topic in ("command", "connection", "here", "acknowledged"):  # the last three are the console's own
            return
        with suppress(msgspec.MsgspecError, TypeError):
            self._hear(topic, msgspec.json.decode(payload, type=dict[str, Any]))
