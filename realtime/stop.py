"""`innerear stop SESSION`, without a library that would take longer to import than STOP takes to work."""

import sys
from pathlib import Path
from typing import NoReturn

from realtime.playback.halt import halt
from realtime.session.folder import SessionFolder

USAGE = """Usage: innerear stop SESSION

Silence the session in this folder at once, straight at its player, whatever the live program does.
It holds, for later players in the folder too, until: innerear sound rearm SESSION
"""


def app(args: list[str], prog_name: str) -> None:
    """Carry out the command; SystemExit with 0 when silent, 1 and a sentence when not for sure."""
    if "--help" in args or len(args) != 1:
        (sys.stdout if "--help" in args else sys.stderr).write(USAGE)
        raise SystemExit(0 if "--help" in args else 2)
    session = Path(args[0])
    if not session.is_dir():
        _fail(f"{prog_name}: {session} is no session's folder; name the one that `innerear live` was given (--session)")
    try:
        done = halt(SessionFolder(session).played)
    except OSError as exc:
        _fail(f"{prog_name}: STOP was given, but {session} cannot be written ({exc.strerror}): a player started later "
              "would play; end the session")
    sys.stdout.write(f"stopped: {done}\n")


def _fail(sentence: str) -> NoReturn:
    sys.stderr.write(sentence + "\n")
    raise SystemExit(1)
