"""What can be said about a C-STORE receiver or sender: titles, encryption, bounds."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from scanner_bridge.errors import SourceError

_LONGEST_TITLE = 16
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Tls:
    """Files for an encrypted connection, PEM.

    Attributes
    ----------
    certificate, key : Path
        Our own.
    authority : Path or None
        Who signed the peer's certificate. Without it a receiver asks for none, and a sender believes those
        whom this computer trusts.
    """

    certificate: Path
    key: Path
    authority: Path | None = None

    def context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        """Settings of a connection.

        Parameters
        ----------
        purpose : ssl.Purpose
            CLIENT_AUTH of a receiver, SERVER_AUTH of a sender.

        Raises
        ------
        SourceError
            A file cannot be read, or is not what it should be.
        """
        try:
            context = ssl.create_default_context(purpose, cafile=self.authority)
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            told = f"the TLS files cannot be used: {error}"
            raise SourceError(f"{told}; give certificate, key and authority as PEM files") from error
        if self.authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@dataclass(frozen=True)
class StoreSettings:
    """A C-STORE receiver.

    Attributes
    ----------
    ae_title : str
        Ours: who calls another is refused.
    allow : tuple of str
        Titles of those who may send.
    tls : Tls or None
        Encrypt.
    max_object_mib : int
        A peer that sends a larger object is cut off; an enhanced object may hold a whole run.

    Raises
    ------
    SourceError
        A title that cannot be.
    """

    ae_title: str
    allow: tuple[str, ...]
    tls: Tls | None = None
    max_object_mib: int = 256

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.ae_title or not self.allow:
            raise SourceError("a C-STORE receiver needs its own title (--ae-title) and those who may send (--allow)")
        for title in (self.ae_title, *self.allow):
            check_title(title)
        if not 1 <= self.max_object_mib <= 4096:
            raise SourceError(f"the largest object is 1 to 4096 MiB, got {self.max_object_mib}")

    @property
    def max_object_bytes(self) -> int:
        """Bytes of the largest object."""
        return self.max_object_mib * _MIB


def check_title(title: str) -> None:
    """SourceError where a text cannot be an application entity title (DICOM PS3.5, VR AE)."""
    if not (0 < len(title.strip()) and len(title) <= _LONGEST_TITLE and title.isascii() and title.isprintable()):
        raise SourceError(f"{title!r} cannot be a DICOM title: give 1 to {_LONGEST_TITLE} plain characters")
    if "\\" in title:
        raise SourceError(f"{title!r} cannot be a DICOM title: a backslash separates values in DICOM")
