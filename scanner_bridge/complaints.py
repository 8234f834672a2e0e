"""What a command says when it cannot do what was asked: one sentence, and status 1."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer


def fail(sentence: str) -> NoReturn:
    """End the command with a sentence on standard error and status 1."""
    typer.echo(f"innerear: {sentence}", err=True)
    raise typer.Exit(1)


@contextmanager
def one_sentence(*kinds: type[Exception]) -> Iterator[None]:
    """End the command with the sentence of an error of these kinds; with status 130, silently, on Ctrl-C."""
    try:
        yield
    except kinds as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
