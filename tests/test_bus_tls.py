"""MQTT over TLS, with a real broker: who may be believed, who is, and what is said when nobody can be."""

import asyncio
import contextlib
import gc
import logging
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiomqtt
import pytest
from typer.testing import CliRunner

from realtime.__main__ import app
from realtime.broker import free_port
from realtime.broker_address import BrokerAddress, BrokerTls, broker_address
from realtime.bus import BusSettings, MqttBus, watch_session
from realtime.config import BrokerSettings, LiveSettings, make_settings
from realtime.errors import ConfigError

left_by_paho = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # after a failed handshake
needs_mosquitto = pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")


@contextlib.asynccontextmanager
async def mosquitto(certificates: Path, name: str = "bridge", *, asks: bool = False) -> AsyncIterator[int]:
    """A broker with the certificate of that name, which may ask its clients for theirs."""
    port = free_port()
    config = certificates / f"mosquitto-{port}.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nrequire_certificate {str(asks).lower()}\n"
        f"cafile {certificates}/authority.pem\ncertfile {certificates}/{name}.pem\nkeyfile {certificates}/{name}.key\n"
    )
    broker = await asyncio.create_subprocess_exec("mosquitto", "-c", str(config), stderr=asyncio.subprocess.DEVNULL)
    try:
        yield port
    finally:
        broker.terminate()
        await broker.wait()


def settings(port: int, tls: BrokerTls | None) -> BusSettings:
    return BusSettings("test", "127.0.0.1", port, tls)


async def warned(words: str) -> None:
    """Wait for a line of the log."""
    came = asyncio.Event()
    lines = logging.Handler()
    lines.emit = lambda record: came.set() if words in record.getMessage() else None  # type: ignore[method-assign]
    logging.getLogger("realtime.bus").addHandler(lines)
    try:
        async with asyncio.timeout(30):
            await came.wait()
    finally:
        logging.getLogger("realtime.bus").removeHandler(lines)


@needs_mosquitto
@pytest.mark.parametrize("asks", [False, True], ids=["broker shows a certificate", "both show one"])
def test_a_session_is_watched_and_commanded_over_an_encrypted_connection(certificates: Path, asks: bool) -> None:
    ours = (certificates / "scanner.pem", certificates / "scanner.key") if asks else (None, None)
    tls = BrokerTls(certificates / "authority.pem", *ours)

    async def session() -> None:
        async with asyncio.timeout(30), mosquitto(certificates, asks=asks) as port, MqttBus(settings(port, tls)) as bus:
            bus.publish("state", {"state": "running"}, retain=True)
            updates = watch_session(settings(port, tls))
            assert await anext(updates) == ("state", {"state": "running"})
            await updates.aclose()
            async with aiomqtt.Client("127.0.0.1", port, tls_context=tls.context()) as operator:
                await operator.publish("innerear/test/command", b'{"name": "pause"}', qos=1)
            assert (await anext(bus.commands()))["name"] == "pause"

    asyncio.run(session())


@needs_mosquitto
@left_by_paho
@pytest.mark.parametrize(
    ("broker", "files", "words"),
    [
        ("stranger", {"ca": "authority"}, "is not believed: "),
        ("elsewhere", {"ca": "authority"}, "IP address mismatch"),
        ("bridge", {}, "is not believed: "),
        ("bridge", {"ca": "stranger"}, "is not believed: "),
    ],
    ids=["another signed it", "of another host", "not trusted by this computer", "another authority is named"],
)
def test_a_broker_that_cannot_be_believed_is_told_nothing_and_named(
    broker: str, files: dict[str, str], words: str, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    tls = BrokerTls(**{kind: certificates / f"{name}.pem" for kind, name in files.items()})

    async def session() -> None:
        async with mosquitto(certificates, broker) as port, MqttBus(settings(port, tls)) as bus:
            await warned(words)
            assert not bus.connected.is_set()
            assert f"MQTT broker 127.0.0.1:{port}: " in caplog.text
            with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: its certificate is not believed: "):
                await anext(watch_session(settings(port, tls)))

    asyncio.run(session())
    gc.collect()
    assert "bus.ca" in caplog.text


@needs_mosquitto
@left_by_paho
@pytest.mark.parametrize("own", [None, pytest.param("stranger", marks=pytest.mark.long)],
                         ids=["without a certificate", "with a stranger's"])
def test_a_broker_that_asks_for_certificates_lets_no_stranger_in(
    own: str | None, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    ours = (certificates / f"{own}.pem", certificates / f"{own}.key") if own else (None, None)

    async def session() -> None:
        tls = BrokerTls(certificates / "authority.pem", *ours)
        async with mosquitto(certificates, asks=True) as port, MqttBus(settings(port, tls)) as bus:
            await warned(f"MQTT broker 127.0.0.1:{port}: ")
            assert not bus.connected.is_set()

    asyncio.run(session())
    gc.collect()


def test_an_encrypted_connection_is_at_least_tls_1_2_and_checks_names(certificates: Path) -> None:
    context = BrokerTls(certificates / "authority.pem").context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://there", BrokerAddress("there", 1883)), ("mqtt://there:99", BrokerAddress("there", 99)),
        ("mqtts://there", BrokerAddress("there", 8883, BrokerTls())),
        ("mqtts://[::1]:99", BrokerAddress("::1", 99, BrokerTls())),
    ],
)  # fmt: skip
def test_a_url_says_where_the_broker_is_and_whether_it_is_encrypted(url: str, address: BrokerAddress) -> None:
    assert broker_address(url) == address


@pytest.mark.parametrize("url", ["there", "http://there", "mqtt://", "mqtts://:8883", "mqtts://there:x", "mqtts://a:0"])
def test_what_is_no_broker_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="wanted mqtt://HOST:PORT"):
        broker_address(url)


def test_files_for_a_connection_that_is_not_encrypted_are_refused() -> None:
    with pytest.raises(ConfigError, match="write mqtts://, or leave them out"):
        BrokerSettings("mqtt://there", ca=Path("x.pem"))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (lambda folder: BrokerTls(folder / "absent.pem"), r"bus\.ca is .*absent\.pem, which is no file"),
        (lambda folder: BrokerTls(cert=folder / "bridge.pem"), "bus.cert and bus.key go together"),
        (lambda folder: BrokerTls(key=folder / "bridge.key"), "bus.cert and bus.key go together"),
        (lambda folder: BrokerTls(cert=folder / "bridge.pem", key=folder / "scanner.key"), "cannot be used"),
        (lambda folder: BrokerTls(folder / "names"), "cannot be used"),
        (lambda folder: BrokerTls(cert=folder / "bridge.pem", key=folder / "locked.key"), "the key without a password"),
    ],
    ids=["absent", "no key", "no certificate", "another's key", "no PEM", "locked key"],
)
def test_files_that_cannot_be_used_are_one_sentence_before_anything_connects(
    files: Callable[[Path], BrokerTls], words: str, certificates: Path
) -> None:
    lock(certificates)
    with pytest.raises(ConfigError, match=words):
        MqttBus(BusSettings("test", tls=files(certificates)))


def lock(certificates: Path) -> None:
    """The bridge's key behind a password."""
    import subprocess

    subprocess.run(["openssl", "pkey", "-in", "bridge.key", "-aes256", "-passout", "pass:word", "-out", "locked.key"],
                   cwd=certificates, check=True, capture_output=True)


def test_settings_name_the_files_in_their_table() -> None:
    document = {"bundle": "b", "catalogue": "c", "session": "s", "bus": {"broker": "mqtts://there", "ca": "a.pem"}}
    made = make_settings(LiveSettings, document, {}, "live.toml")
    assert made.bus.address == BrokerAddress("there", 8883, BrokerTls(Path("a.pem")))


def test_watching_with_files_that_are_not_there_is_one_sentence(tmp_path: Path) -> None:
    watched = CliRunner().invoke(app, ["watch", "mqtts://127.0.0.1", "s1", "--ca", str(tmp_path / "absent.pem")])
    assert watched.exit_code == 1
    assert "absent.pem, which is no file; name a PEM file" in " ".join(watched.output.split())
