"""Which outlets a session has (`innerear outlets`)."""

from dataclasses import dataclass
from pathlib import Path

from realtime.errors import ConfigError
from scanner_bridge.errors import SourceError
from scanner_bridge.sources.address import Address, parse_address

PYNEAL_PORT = 5556
AFNI_PORT = 53214


@dataclass(frozen=True)
class OutletsSettings:
    """What others hear of a session, and how.

    Attributes
    ----------
    door : str
        ZeroMQ endpoint for tasks (`innerear_client.py`); beyond this machine only with keys.
    server_key, client_keys : Path or None
        CURVE secret key file of this side (mode 0600), and the folder with the public keys of the tasks that may
        connect.
    pyneal : str
        HOST:PORT where Pyneal's result queries are answered; "" for not at all. Without keys of any kind: this machine,
        or a network that nobody else is on.
    afni : str
        HOST:PORT where a task listens as realtime_receiver.py does; "" for none.
    lsl : bool
        Lab Streaming Layer: embedding, confidence, markers.
    emulators : bool
        Rehearse: a trigger box and a person that do not exist press keys.
    """

    door: str = "tcp://127.0.0.1:5578"
    server_key: Path | None = None
    client_keys: Path | None = None
    pyneal: str = ""
    afni: str = ""
    lsl: bool = False
    emulators: bool = False

    def __post_init__(self) -> None:
        if (self.server_key is None) != (self.client_keys is None):
            raise ConfigError("outlets.server_key and outlets.client_keys go together: give both, or neither")
        try:
            _ = self.pyneal_at, self.afni_at
        except SourceError as exc:
            raise ConfigError(f"outlets.pyneal or outlets.afni: {exc}") from exc

    @property
    def pyneal_at(self) -> Address | None:
        """Where to listen for Pyneal's questions."""
        return parse_address(self.pyneal, PYNEAL_PORT) if self.pyneal else None

    @property
    def afni_at(self) -> Address | None:
        """Where AFNI's stream goes."""
        return parse_address(self.afni, AFNI_PORT) if self.afni else None
