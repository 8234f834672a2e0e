"""`innerear allocation`: seal who is in which arm, open it on the record, and ask whether blinding held."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from realtime.atomic import without_nan
from realtime.console.figures import write_figures
from realtime.errors import RealtimeError, SessionError
from realtime.experiment.allocation import Opening, allocate, read_allocation, write_allocation
from realtime.experiment.arms import ARMS, Arm
from realtime.experiment.blinding import UNSURE, bang_index
from scanner_bridge.complaints import one_sentence

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Who is in which arm: sealed, opened on the record, and whether blinding held.")
FileArgument = Annotated[Path, typer.Argument(help="The allocation.")]


@app.command()
def make(file: FileArgument,
         subjects: Annotated[str, typer.Option(help="Pseudonyms, with commas between.")],
         arms: Annotated[str, typer.Option(help=f"Two or more of {', '.join(ARMS)}, with commas between.")],
         seed: Annotated[int, typer.Option(help="Of the draw; whoever knows it can draw again: keep it.")]) -> None:
    """Put subjects into arms, balanced in blocks, and seal it."""
    with one_sentence(RealtimeError):
        if file.exists():
            raise SessionError(f"{file} exists: an allocation is made once; name another file")
        known: dict[str, Arm] = {arm: arm for arm in ARMS}
        wanted = [name.strip() for name in arms.split(",")]
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise SessionError(f"no arm {unknown[0]!r}; wanted two or more of {', '.join(ARMS)}")
        sealed = allocate([name.strip() for name in subjects.split(",")], [known[name] for name in wanted], seed)
        write_allocation(file, sealed)
    Console().print(f"{file}: {len(sealed.codes)} subjects, sealed; commitment {sealed.commitment}", soft_wrap=True)


@app.command(name="open")
def unseal(file: FileArgument, by: Annotated[str, typer.Option(help="Who opens it.")],
           reason: Annotated[str, typer.Option(help="Why.")]) -> None:
    """Unblind: tell every subject's arm, and write into the file who opened it, when and why."""
    with one_sentence(RealtimeError):
        if not by.strip() or not reason.strip():
            raise SessionError("--by and --reason may not be empty: unblinding is recorded with both")
        opened = read_allocation(file).unblinded(Opening(datetime.now(UTC).isoformat(timespec="seconds"), by, reason))
        write_allocation(file, opened)
        for code, arm in opened.all_arms().items():
            typer.echo(f"{code}\t{arm}")


@app.command()
def guess(form: Annotated[Path, typer.Argument(help="JSON lines; made where there is none.")],
          subject: Annotated[str, typer.Option(help="Pseudonym.")],
          role: Annotated[str, typer.Option(help="subject or operator.")],
          said: Annotated[str, typer.Option(help=f"An arm, or {UNSURE}.")],
          because: Annotated[str, typer.Option(help="What it rests on, in their words.")] = "") -> None:
    """The blinding form: what a subject or operator believes which arm it was, asked before anything is opened."""
    with one_sentence(RealtimeError):
        if said not in (*ARMS, UNSURE) or role not in ("subject", "operator"):
            raise SessionError(f"role is {role!r} and said {said!r}: wanted subject or operator, and one of "
                               f"{', '.join((*ARMS, UNSURE))}")
        entry = {"subject": subject, "role": role, "said": said, "because": because,
                 "at": datetime.now(UTC).isoformat(timespec="seconds")}
        with form.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


@app.command()
def blinding(file: FileArgument, form: Annotated[Path, typer.Argument(help="What `guess` wrote.")],
             json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
             ) -> None:
    """Bang's index of every arm, by role, from the blinding form and an allocation that was opened."""
    with one_sentence(RealtimeError):
        arms = read_allocation(file).all_arms()
        guesses = _guesses(form)
    table = Table("role", "arm", "n", "Bang's index", "95 %", title="1: all knew, 0: chance or unsure, -1: all wrong")
    figures = []
    for role in ("subject", "operator"):
        for arm in sorted(set(arms.values())):
            said = [each["said"] for each in guesses if each["role"] == role and arms.get(each["subject"]) == arm]
            index = bang_index(said, arm)
            figures.append({"role": role, "arm": arm, **vars(index)})
            table.add_row(role, arm, str(index.n), f"{index.value:.2f}", f"{index.low:.2f} to {index.high:.2f}")
    Console().print(table)
    write_figures(json_file, {"blinding": without_nan(figures)})


def _guesses(form: Path) -> list[dict[str, str]]:
    try:
        return [json.loads(line) for line in form.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as exc:
        raise SessionError(f"blinding form {form} cannot be read ({exc}); `innerear allocation guess` writes "
                           "it") from exc


if __name__ == "__main__":
    app()
