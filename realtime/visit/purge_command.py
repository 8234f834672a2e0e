"""`innerear purge`: what is past its date, and its end on the record."""

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from realtime.errors import RealtimeError, SessionError
from realtime.visit.retention import PARTS, Part, Retained, purge, sessions_under
from scanner_bridge.complaints import one_sentence

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def command(folders: Annotated[list[Path], typer.Argument(help="Sessions, visits, or folders that hold some.")],
            what: Annotated[list[str] | None, typer.Option(help=f"{', '.join(PARTS)}; repeat for more. Without it "
                                                                "nothing is deleted.")] = None,
            by: Annotated[str, typer.Option(help="Who purges; default the name of this account.")] = "",
            reason: Annotated[str, typer.Option(help="Why.")] = "its date has passed",
            early: Annotated[bool, typer.Option("--early", help="Also before their date, and without one.")] = False,
            unexported: Annotated[bool, typer.Option("--unexported", help="Also where no export is left.")] = False,
            yes: Annotated[bool, typer.Option("--yes", help="Without typing each session's name.")] = False) -> None:
    """List sessions with the date until which they may be kept; with --what, delete that of those past it."""
    today = datetime.now(UTC).date()
    with one_sentence(RealtimeError):
        parts = _parts(what or [])
        found = sessions_under(folders)
        due = [session for session in found if early or session.is_past(today)]
        Console().print(_table(found, due))
        for session in due if parts else []:
            if not yes and _typed(session, parts) != session.name:
                typer.echo(f"{session.folder.path}: kept")
                continue
            files = purge(session, parts, by or getpass.getuser(), reason, unexported)
            typer.echo(f"{session.folder.path}: {len(files)} files deleted, {_size(sum(f.n_bytes for f in files))}; "
                       f"{session.folder.tombstone.name} says which")
            for each in session.exports:
                typer.echo(f"  its export is not touched: {each}")


def _parts(what: list[str]) -> tuple[Part, ...]:
    unknown = [name for name in what if name not in PARTS]
    if unknown:
        raise SessionError(f"--what is {unknown[0]!r}, wanted one of {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in what)


def _typed(session: Retained, parts: tuple[Part, ...]) -> str:
    answer: str = typer.prompt(f"Delete {' and '.join(parts)} of {session.folder.path}? Type {session.name} to do so",
                               default="", show_default=False)
    return answer


def _table(found: tuple[Retained, ...], due: list[Retained]) -> Table:
    table = Table("session", "keep until", "to purge", "exported", "size")
    for session in found:
        table.add_row(str(session.folder.path), str(session.keep_until or "no date"), "yes" if session in due else "",
                      "yes" if session.exports else "no", _size(session.n_bytes))
    return table


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"


if __name__ == "__main__":
    app()
