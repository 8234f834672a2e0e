"""A receiving program for the tests to kill: stores every blob with fsync, then acknowledges it.

python tests/bridge_receiver.py ENDPOINT LOGFILE [KEY BRIDGE_KEY]

Says "ready" once it listens.
"""

import asyncio
import os
import struct
import sys
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from scanner_bridge.keys import ServerKeys, load_server_keys
from scanner_bridge.server import VolumeServer

RECORD = struct.Struct("<I32s")


def read_log(path: Path) -> list[tuple[str, bytes]]:
    """(nonce, blob) of every whole record; a torn last one was never acknowledged and is left out."""
    data = path.read_bytes() if path.exists() else b""
    records, at = [], 0
    while at + RECORD.size <= len(data):
        length, nonce = RECORD.unpack_from(data, at)
        if at + RECORD.size + length > len(data):
            break
        records.append((nonce.decode(), data[at + RECORD.size : at + RECORD.size + length]))
        at += RECORD.size + length
    return records


async def receive(endpoint: str, log: BinaryIO, stored: dict[str, int], keys: ServerKeys | None) -> None:
    async with VolumeServer(endpoint, stored=stored, keys=keys) as server:
        print("ready", flush=True)
        while True:
            received = await server.receive()
            log.write(RECORD.pack(len(received.blob), received.nonce.encode()) + received.blob)
            log.flush()
            os.fdatasync(log.fileno())
            await server.acknowledge(received)


def main(endpoint: str, path: Path, *key_files: str) -> None:
    keys = load_server_keys(Path(key_files[0]), [Path(key_files[1])]) if key_files else None
    records = read_log(path)
    with open(path, "ab") as log:
        log.truncate(sum(RECORD.size + len(blob) for _, blob in records))
        asyncio.run(receive(endpoint, log, Counter(nonce for nonce, _ in records), keys))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
