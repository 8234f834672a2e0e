"""The `innerear` command: mounts each part's own commands, importing only the part that is asked for.

`innerear live` must never load scikit-learn, and `innerear bridge` on the scanner's host has no
use for either; so this file imports nothing of ours until it knows the command.
"""

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """Where a command lives, what it does in a few words, and whether it has commands of its own only."""

    module: str
    help: str
    is_group: bool = False


COMMANDS = {
    "demo": Command("offline_training.__main__", "simulate, train, stream and listen: the whole loop in three minutes"),
    "rehearse": Command("offline_training.__main__", "a whole visit at the console, without a scanner"),
    "live": Command("realtime.__main__", "run a live session: volumes in, music out"),
    "bridge": Command("scanner_bridge.__main__", "serve, inspect or export what the scanner makes", is_group=True),
    "replay": Command("realtime.__main__", "stream a recorded run through the loop, or prove a session repeatable"),
    "watch": Command("realtime.__main__", "show a running session as a table"),
    "check": Command("realtime.__main__", "preflight: from the scanner to the sound, link by link"),
    "console": Command("realtime.__main__", "the operator's page: watch, command and stop a session in the browser"),
    "verify": Command("realtime.__main__", "check the files of a recorded session"),
    "outlets": Command("realtime.outlets.__main__", "a session for tasks: client, Pyneal's and AFNI's ways, LSL"),
    "client": Command("realtime.outlets.__main__", "put innerear_client.py and an example beside a task"),
    "rehearse-task": Command("realtime.outlets.rehearse_command",
                             "run a task with emulators of scanner, trigger and person", is_group=True),
    "schemas": Command("realtime.outlets.__main__", "JSON Schemas of the bus's topics"),
    "stop": Command("realtime.stop", "silence a session at once, straight at its player", is_group=True),
    "sound": Command("realtime.sound", "calibrate and try the sound, take STOP back", is_group=True),
    "simulate": Command("offline_training.__main__", "write a simulated scanning session as BIDS"),
    "calibration": Command("offline_training.__main__", "the simulated person beside published figures"),
    "train": Command("offline_training.__main__", "train a decoder on a recorded session and export a bundle"),
    "evaluate": Command("offline_training.__main__", "judge a bundle on held-out runs: measures, chance, controls"),
    "export": Command("offline_training.__main__", "a session or visit as a BIDS data set; untrained bundles"),
    "corpus": Command("offline_training.__main__", "build the music that can be played"),
    "embedder": Command("offline_training.__main__", "train an embedder of sound and words, or measure one"),
    "generator": Command("offline_training.__main__", "train what generates music live"),
    "worker": Command("realtime.workers.__main__", "make music with a large model, for live sessions", is_group=True),
    "report": Command("offline_training.__main__", "a session, or an evaluation, as an HTML page"),
    "overlay": Command("offline_training.__main__", "how a session lies on the training reference, as a picture"),
    "group": Command("offline_training.__main__", "many people's evaluations as one: measures, controls, two groups"),
    "imagery": Command("offline_training.__main__", "figures of imagination from visits: identification, learning"),
    "session": Command("realtime.visit.session_command", "walk a person's visit through its plan", is_group=True),
    "say": Command("realtime.visit.say_command", "say a command to a running session or visit", is_group=True),
    "purge": Command("realtime.visit.purge_command", "sessions past their date: list them, delete on the record",
                     is_group=True),
    "allocation": Command("realtime.visit.allocation_command", "who is in which arm: seal, open, blinding",
                          is_group=True),
    "bench": Command("tests.benchmarks.__main__", "measure speed against peers on this machine", is_group=True),
}
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_ONE_THREAD = ("live", "rehearse", "rehearse-task", "session", "replay", "bridge", "watch", "check", "console",
               "outlets", "bench")


def main() -> None:
    """Run one command."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        _overview(unknown=name if name not in ("", "-h", "--help") else "")
    if name in _ONE_THREAD:
        # two thread pools fighting over two cores took a volume's work from 2.6 to 57 ms (p99)
        for variable in _THREADS:
            os.environ.setdefault(variable, "1")
    try:
        _run(name)
    except KeyboardInterrupt:  # while everything is still being imported; later each command has its own way to end
        raise SystemExit(130) from None


def _run(name: str) -> None:
    _insist_on_our_packages()
    command = COMMANDS[name]
    app = importlib.import_module(command.module).app
    if command.is_group:
        app(args=sys.argv[2:], prog_name=f"innerear {name}")
    else:
        app(args=sys.argv[1:], prog_name="innerear")


def _overview(unknown: str) -> None:
    lines = ["usage: innerear COMMAND [OPTIONS]    (innerear COMMAND --help says more)", ""]
    lines += [f"  {name:10}{command.help}" for name, command in COMMANDS.items()]
    if unknown:
        lines = [f"innerear: no command {unknown!r}; known: {', '.join(COMMANDS)}"]
    (sys.stderr if unknown else sys.stdout).write("\n".join(lines) + "\n")
    raise SystemExit(2 if unknown else 0)


def _insist_on_our_packages() -> None:
    """Put this tree first: another distribution on the public index installs a package called `realtime`, too."""
    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here))
    for package in ("realtime", "scanner_bridge", "offline_training"):
        spec = importlib.util.find_spec(package)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if origin is None or here not in origin.parents:
            sys.stderr.write(f"innerear: package {package!r} comes from {origin}, wanted the one beside {__file__}; "
                             "run innerear from its own virtual environment (make setup)\n")
            raise SystemExit(1)


if __name__ == "__main__":
    main()
