"""A bridge for the tests to kill, whose source cannot be asked again: it sends the volumes it is told to.

python tests/bridge_sender.py ENDPOINT SPOOL [KEY LIVE_KEY]

Reads one line per order: a volume's index, "end", or "flush"; repeats the line once it is done.
"""

import sys
from pathlib import Path

from scanner_bridge.client import BridgeClient
from scanner_bridge.keys import load_client_keys
from scanner_bridge.volume import RunEnd
from tests.live_end import a_header, a_volume


def main(endpoint: str, spool: Path, *key_files: str) -> None:
    keys = load_client_keys(Path(key_files[0]), Path(key_files[1])) if key_files else None
    with BridgeClient(endpoint, spool=spool, keys=keys) as client:
        client.send(a_header())
        print("ready", flush=True)
        for line in sys.stdin:
            order = line.strip()
            if order == "flush":
                client.flush(60.0)
            elif order == "end":
                client.send(RunEnd("run", 0))
            else:
                client.send(a_volume(int(order)))
            print(order, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
