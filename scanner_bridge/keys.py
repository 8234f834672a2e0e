"""CURVE key files: who may listen, who may send.

Each host has one pair of files, `NAME.key` (public, give it to the other host) and
`NAME.key_secret` (stays where it was made, mode 0600). The text format is ZeroMQ's own
certificate format, so pairs made by other ZeroMQ tools work too.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scanner_bridge.errors import TransportError

_LINE = re.compile(r'^\s*(public|secret)-key\s*=\s*["\']([^"\']{40})["\']\s*$', re.MULTILINE)


@dataclass(frozen=True)
class KeyPair:
    """One host's keys, Z85-encoded (40 characters each); the secret one is never shown."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class ServerKeys:
    """What the live program needs: its own pair and the public keys of the bridges it lets in."""

    own: KeyPair
    clients: frozenset[bytes]


@dataclass(frozen=True)
class ClientKeys:
    """What the bridge needs: its own pair and the live program's public key."""

    own: KeyPair
    server: bytes


def load_server_keys(secret_file: Path, client_files: Sequence[Path]) -> ServerKeys:
    """Keys of the listening side, from its secret file and the public files of the bridges it lets in.

    Raises
    ------
    TransportError
        A file is missing or not a key file, the secret file is readable by others, or no bridge is let in.
    """
    if not client_files:
        raise TransportError("no public key of any bridge was given: nobody could connect; name at least one .key file")
    return ServerKeys(_load_pair(secret_file), frozenset(_load_public(path) for path in client_files))


def load_client_keys(secret_file: Path, server_file: Path) -> ClientKeys:
    """Keys of the sending side, from its secret file and the live program's public file.

    Raises
    ------
    TransportError
        A file is missing or not a key file, or the secret file is readable by others.
    """
    return ClientKeys(_load_pair(secret_file), _load_public(server_file))


def write_key_files(folder: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    """Write `NAME.key` and `NAME.key_secret` (mode 0600) and return both paths.

    Raises
    ------
    TransportError
        One of them exists already: keys in use are never overwritten.
    """
    public_path, secret_path = folder / f"{name}.key", folder / f"{name}.key_secret"
    public = f'curve\n    public-key = "{pair.public.decode()}"\n'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text, mode in (
            (secret_path, f'{public}    secret-key = "{pair.secret.decode()}"\n', 0o600),
            (public_path, public, 0o644),
        ):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as file:
                file.write(text)
    except OSError as error:
        raise TransportError(f"cannot write keys: {error}; remove the old pair or choose another name") from error
    return public_path, secret_path


def _load_pair(path: Path) -> KeyPair:
    keys = _read_keys(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o177:
        raise TransportError(f"secret key file {path} has mode {mode:04o}, wanted 0600: run chmod 600 {path}")
    if "secret" not in keys or "public" not in keys:
        raise TransportError(f"{path} holds no secret key: name the .key_secret file of this host")
    return KeyPair(keys["public"], keys["secret"])


def _load_public(path: Path) -> bytes:
    keys = _read_keys(path)
    if "public" not in keys:
        raise TransportError(f"{path} holds no public key: name the .key file of the other host")
    return keys["public"]


def _read_keys(path: Path) -> dict[str, bytes]:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise TransportError(f"cannot read key file {path}: {error}; make a pair with the keys command") from error
    return {name: key.encode() for name, key in _LINE.findall(text)}
