"""Where an MQTT broker is, and how one is sure of it: its URL, and the files of an encrypted connection."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from realtime.errors import ConfigError

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class BrokerTls:
    """Files of an encrypted connection to a broker, PEM.

    Attributes
    ----------
    ca : Path or None
        Who signed the broker's certificate; None believes those whom this computer trusts.
    cert, key : Path or None
        Our own certificate and its key, for a broker that asks for one; both or neither.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Settings of a connection; the broker's certificate and name are always checked.

        Raises
        ------
        ConfigError
            A file cannot be read, or is not what it should be.
        """
        if (self.cert is None) != (self.key is None):
            raise ConfigError("bus.cert and bus.key go together: give both, or neither")
        for name, path in (("ca", self.ca), ("cert", self.cert), ("key", self.key)):
            if path is not None and not path.is_file():
                raise ConfigError(f"bus.{name} is {path}, which is no file; name a PEM file")
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key, password=_no_password)
        except (OSError, ValueError) as exc:
            raise ConfigError(f"bus.ca, bus.cert and bus.key cannot be used: {exc}; give PEM files, the key without a "
                              "password and of this certificate") from exc
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


@dataclass(frozen=True)
class BrokerAddress:
    """A broker.

    Attributes
    ----------
    host : str
        Name or address.
    port : int
        1 to 65535.
    tls : BrokerTls or None
        Encrypt.
    """

    host: str
    port: int
    tls: BrokerTls | None = None

    def check(self) -> None:
        """ConfigError when the files of an encrypted connection cannot be used."""
        if self.tls is not None:
            self.tls.context()


def broker_address(url: str, files: BrokerTls = BrokerTls()) -> BrokerAddress:  # a frozen value
    """The broker of a URL.

    Parameters
    ----------
    url : str
        ``mqtt://HOST[:PORT]``, or ``mqtts://HOST[:PORT]`` for an encrypted connection.
    files : BrokerTls
        For an encrypted connection.

    Raises
    ------
    ConfigError
        Not of that form, or files for a connection that is not encrypted.
    """
    parts = urlsplit(url)
    try:
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        port = 0
    if not parts.hostname or not port or parts.scheme not in _PORTS:
        raise ConfigError(f"broker is {url!r}, wanted mqtt://HOST:PORT, mqtts://HOST:PORT (encrypted), 'embedded', "
                          "or '' for none")
    if parts.scheme == "mqtt" and files != BrokerTls():
        raise ConfigError(f"bus.ca, bus.cert and bus.key are for an encrypted connection, and broker is {url!r}: "
                          "write mqtts://, or leave them out")
    return BrokerAddress(parts.hostname, port, files if parts.scheme == "mqtts" else None)


def certificate_trouble(error: BaseException) -> str:
    """Why a connection failed and what to do, where the broker's certificate is at fault; else nothing."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (f"its certificate is not believed: {cause.verify_message}; name who signed it (bus.ca, --ca), and "
                    "the host as the certificate does")
        cause = cause.__cause__ or cause.__context__
    return ""


def _no_password() -> str:
    """An encrypted key would else be asked for at the terminal, and the session wait for it."""
    return ""
