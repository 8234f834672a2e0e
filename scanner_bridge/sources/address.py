"""Where a peer on the network may connect."""

from dataclasses import dataclass

from scanner_bridge.errors import SourceError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """Host and TCP port.

    Attributes
    ----------
    host : str
        Address or name of a host; for listening, one of this host's own.
    port : int
        0 takes a free one when listening.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int) -> Address:
    """The address that ``HOST:PORT``, ``HOST`` or ``:PORT`` stands for; this host's loopback without a host.

    Raises
    ------
    SourceError
        The port is no port.
    """
    host, separator, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not separator:
        host, port = text, ""
    port = port or str(default_port)
    if not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise SourceError(f"the address {text!r} names port {port!r}: give HOST:PORT with a port up to 65535")
    return Address(host.strip("[]") or LOOPBACK, int(port))
