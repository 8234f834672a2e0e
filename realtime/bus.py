"""Control in, status out, over MQTT; never the record of truth.

Topics, below `innerear/<session>/`:

    about      retained; what the session is: protocol, subject, lag, window, trial onsets, whether it is blinded
    state      retained; {"state": "offline"} when the program has ended or died (last will)
    link       retained; who is at the other end of the line
    step       one message per volume
    slices     three slices of a volume with the decoder's voxels, at most every 0.4 s
    sound      the player's counters, what it plays, volume and mute, twice a second
    plan       retained; of a visit: its runs, what was done, what it waits for and what may be said
    alarm      sentences for the operator, with a severity: person, data, note
    self_check how near what is played is to what was chosen
    plan       retained; where a visit is, and which commands are possible
    rejected   commands that were not understood, and why
    shown, key from tasks, through `innerear outlets`: what was shown when; keys that emulators press
    command    in: {"name": "start", "text": "", "value": null}

What each holds: `realtime.topics`, and the JSON schemas in docs/schemas.

All MQTT calls of the program are in this file.
"""

import asyncio
import logging
import math
import socket
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiomqtt
import msgspec
import numpy as np

from realtime.broker_address import BrokerTls, certificate_trouble
from realtime.errors import ConfigError
from realtime.topics import Command

log = logging.getLogger(__name__)

OFFLINE = {"state": "offline"}
FIRST_RETRY_S = 0.2
LAST_RETRY_S = 5.0
CALL_TIMEOUT_S = 5.0
FAREWELL_S = 1.0
STATUS_KEPT = 256  # messages that wait for the broker
COMMANDS_KEPT = 64
LONGEST_COMMAND = 4096
NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else delayed acknowledgements cost 48 ms each


@dataclass(frozen=True)
class BusSettings:
    """Where the broker is.

    Attributes
    ----------
    session : str
        Part of every topic; letters, digits, "-", "_" and ".".
    host : str
        Name or address of the broker.
    port : int
        1 to 65535.
    tls : BrokerTls or None
        Encrypt.
    """

    session: str
    host: str = "127.0.0.1"
    port: int = 1883
    tls: BrokerTls | None = None

    def __post_init__(self) -> None:
        if not self.session or any(not (char.isalnum() or char in "-_.") for char in self.session):
            message = (
                f"The session name {self.session!r} cannot be in an MQTT topic: use letters, digits, '-', '_', '.'."
            )
            raise ConfigError(message)
        if not 1 <= self.port <= 65535:
            message = f"The MQTT port is {self.port}, wanted 1 to 65535. Correct it in the settings."
            raise ConfigError(message)


class NullBus:
    """A MessageBus to nobody: drops what is published, has no commands."""

    def __init__(self) -> None:
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End `commands`; may be called twice."""
        self._closed.set()

    def publish(self, topic: str, payload: dict[str, Any], *, retain: bool = False) -> None:
        """Drop it; a payload that could not be sent is refused all the same."""
        _encode(payload)

    async def commands(self) -> AsyncIterator[dict[str, Any]]:
        """Nothing, until the bus is closed."""
        await self._closed.wait()
        nothing: tuple[dict[str, Any], ...] = ()
        for command in nothing:
            yield command


class MqttBus:
    """A MessageBus over MQTT: `async with MqttBus(settings) as bus`.

    Enters at once, whether or not there is a broker; connects, and connects again, in the
    background. Until then the last `STATUS_KEPT` messages wait, and of every retained topic the
    newest. A command that the broker had retained is ignored: it is from another time.

    Parameters
    ----------
    settings : BusSettings
        Where the broker is.

    Raises
    ------
    ConfigError
        The files of an encrypted connection cannot be used.
    """

    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._tls = None if settings.tls is None else settings.tls.context()
        self._base = f"innerear/{settings.session}"
        self._status: deque[tuple[str, bytes]] = deque()
        self._retained: dict[str, bytes] = {}
        self._unsent: dict[str, None] = {}  # retained topics the broker does not know, in order
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._commands: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()
        self.dropped = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._stay_connected(), name="mqtt")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def publish(self, topic: str, payload: dict[str, Any], *, retain: bool = False) -> None:
        """Send soon, below `innerear/<session>/`; never blocks.

        Numpy scalars and arrays and paths are understood; NaN is sent as null. Of a retained topic only the newest
        payload is sent; of the others the oldest are dropped, and counted in `dropped`, when too many wait.

        Raises
        ------
        TypeError
            A payload that has no JSON.
        """
        encoded = _encode(payload)
        if retain:
            self._retained[topic] = encoded
            self._unsent[topic] = None
        else:
            if len(self._status) >= STATUS_KEPT:
                self._status.popleft()
                self.dropped += 1
            self._status.append((topic, encoded))
        self._idle.clear()
        self._work.set()

    async def commands(self) -> AsyncIterator[dict[str, Any]]:
        """Commands as they come, each with "name", "text" and "value"; ends with the bus. For one reader."""
        while (command := await self._commands.get()) is not None:
            yield command

    async def close(self) -> None:
        """Say "offline" if the broker listens, then disconnect; may be called twice."""
        if self._task is None:
            return
        await self._sent()  # a last state is for those who watch now; only then comes "offline"
        self.publish("state", OFFLINE, retain=True)
        await self._sent()
        task, self._task = self._task, None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self._commands.put_nowait(None)

    async def _sent(self) -> None:
        """Wait a moment for what was published to be sent, if the broker is there."""
        if self.connected.is_set() and (self._unsent or self._status):
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._idle.wait()

    async def _stay_connected(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            try:
                async with self._client() as client:
                    await client.subscribe(f"{self._base}/command", qos=1)
                    retry_s = FIRST_RETRY_S
                    self._unsent = dict.fromkeys(self._retained)  # a broker that was restarted has forgotten them
                    self.connected.set()
                    async with asyncio.TaskGroup() as both:
                        both.create_task(self._send(client))
                        both.create_task(self._receive(client))
            except* Exception as errors:  # whatever it is, the session goes on and the next connection may do better
                trouble = certificate_trouble(errors.exceptions[0]) or errors.exceptions[0]
                log.warning("MQTT broker %s:%d: %s", self._settings.host, self._settings.port, trouble)
            finally:
                self.connected.clear()
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)

    def _client(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            self._settings.host,
            self._settings.port,
            tls_context=self._tls,
            timeout=CALL_TIMEOUT_S,
            keepalive=int(CALL_TIMEOUT_S),
            socket_options=[NO_DELAY],
            max_queued_incoming_messages=COMMANDS_KEPT,
            will=aiomqtt.Will(f"{self._base}/state", _encode(OFFLINE), qos=1, retain=True),
        )

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            while self._unsent or self._status:
                await self._send_next(client)
            self._idle.set()
            self._work.clear()
            await self._work.wait()

    async def _send_next(self, client: aiomqtt.Client) -> None:
        """Send one message; a retained one is sent again after a failure, a status is then lost."""
        if self._unsent:
            topic = next(iter(self._unsent))
            payload = self._retained[topic]
            await client.publish(f"{self._base}/{topic}", payload, qos=1, retain=True)
            if self._retained[topic] is payload:
                self._unsent.pop(topic, None)
        else:
            topic, payload = self._status.popleft()
            await client.publish(f"{self._base}/{topic}", payload, qos=1)

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if message.retain:
                self._reject(message.payload, "it was retained by the broker, so it is old; send it unretained")
                continue
            try:
                command = _decode(message.payload)
            except ValueError as exc:
                self._reject(message.payload, str(exc))
                continue
            if self._commands.qsize() >= COMMANDS_KEPT:
                self._commands.get_nowait()
            self._commands.put_nowait(command)

    def _reject(self, payload: Any, reason: str) -> None:
        got = bytes(payload[:80]).decode(errors="replace") if isinstance(payload, bytes | bytearray) else str(payload)
        log.warning("MQTT command %r is ignored: %s", got, reason)
        self.publish("rejected", {"got": got, "reason": reason})


async def watch_session(settings: BusSettings) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """What a session publishes, as (topic, payload), for those who only look; waits for the broker and the session.

    Anything that is not a JSON object is passed over: the topic is open to everyone.

    Raises
    ------
    ConfigError
        The files of an encrypted connection cannot be used, or the broker's certificate is not believed.
    """
    tls = None if settings.tls is None else settings.tls.context()
    base = f"innerear/{settings.session}/"
    while True:
        try:
            async with aiomqtt.Client(
                settings.host, settings.port, tls_context=tls, socket_options=[NO_DELAY]
            ) as client:
                await client.subscribe(base + "#", qos=1)
                async for message in client.messages:
                    topic = str(message.topic).removeprefix(base)
                    with suppress(msgspec.MsgspecError, TypeError):
                        payload = msgspec.json.decode(message.payload, type=dict[str, Any])
                        if topic != "command":
                            yield topic, payload
        except aiomqtt.MqttError as exc:
            if trouble := certificate_trouble(exc):  # waiting would not mend it
                raise ConfigError(f"MQTT broker {settings.host}:{settings.port}: {trouble}") from exc
        await asyncio.sleep(FIRST_RETRY_S)


async def say(settings: BusSettings, name: str, text: str = "", value: float | None = None) -> None:
    """Send one command to a session; returns when the broker has it.

    Raises
    ------
    ConfigError
        Not a command, or no broker there.
    """
    tls = None if settings.tls is None else settings.tls.context()
    payload = _encode({"name": name, "text": text, "value": value})
    try:
        _decode(payload)
        async with aiomqtt.Client(settings.host, settings.port, tls_context=tls, socket_options=[NO_DELAY]) as client:
            await client.publish(f"innerear/{settings.session}/command", payload, qos=1)
    except ValueError as exc:
        raise ConfigError(f"{name!r} is not a command: {exc}") from exc
    except aiomqtt.MqttError as exc:
        raise ConfigError(f"MQTT broker {settings.host}:{settings.port}: {certificate_trouble(exc) or exc}; name the "
                          "broker of the running session") from exc


def _decode(payload: Any) -> dict[str, Any]:
    """A command; raises ValueError with the reason for anything else."""
    if not isinstance(payload, bytes | bytearray) or len(payload) > LONGEST_COMMAND:
        message = f"wanted JSON of at most {LONGEST_COMMAND} bytes"
        raise ValueError(message)
    try:
        command = msgspec.json.decode(payload, type=Command)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError(str(exc)) from exc
    if command.name == "volume" and (command.value is None or not math.isfinite(command.value)):
        message = f"volume needs a finite value in dB, got {command.value}"
        raise ValueError(message)
    return msgspec.structs.asdict(command)


def _encode(payload: dict[str, Any]) -> bytes:
    return msgspec.json.encode(payload, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    message = f"{type(value).__name__} has no JSON"
    raise TypeError(message)
