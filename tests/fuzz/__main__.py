"""Fuzz one target for some seconds: `python -m tests.fuzz TARGET SECONDS CORPUS_FOLDER`.

Coverage guides it (atheris). It stops with a traceback and another exit code than 0 at the first
exception that a target lets through, and at the first input whose decoding holds more than 32 MiB.
"""

import sys
import tracemalloc
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["scanner_bridge"]):
    from tests.fuzz.targets import TARGETS, Target

_MOST_BYTES = 32 * 2**20
_LONGEST_INPUT = 65_536


def main() -> None:
    """Run libFuzzer until the time is over."""
    name, seconds, corpus = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    target = TARGETS[name]
    tracemalloc.start()
    options = [f"-max_total_time={seconds}", f"-max_len={_LONGEST_INPUT}", "-timeout=10", "-print_final_stats=1",
               f"-artifact_prefix={corpus.parent}/crash-", str(corpus)]
    atheris.Setup([sys.argv[0], *options], lambda data: within_memory(target, data))
    atheris.Fuzz()


def within_memory(target: Target, data: bytes) -> None:
    """Run a target and see what it held at most beyond what there was."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    target(data)
    peak = tracemalloc.get_traced_memory()[1] - before
    if peak > _MOST_BYTES:
        raise MemoryError(f"{len(data)} bytes made the decoder hold {peak} bytes, {_MOST_BYTES} are allowed")


if __name__ == "__main__":
    main()
