"""`innerear say`: one command to a running session or visit, as the operator's page sends them."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from realtime.broker_address import BrokerTls, broker_address
from realtime.bus import BusSettings, say
from realtime.errors import RealtimeError
from scanner_bridge.complaints import one_sentence

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def command(broker: Annotated[str, typer.Argument(help="mqtt://host:port, or mqtts://.")],
            session: Annotated[str, typer.Argument(help="Name of the folder of the session or visit.")],
            name: Annotated[str, typer.Argument(help="go, accept, refuse, again, skip, out, in, end between runs; "
                                                     "pause, resume, mark, rate, abort, stop, ... within.")],
            text: Annotated[str, typer.Option(help="Words for the record.")] = "",
            value: Annotated[float | None, typer.Option(help="For volume (dB) and rate (vividness).")] = None,
            ca: Annotated[Path | None, typer.Option(help="mqtts: who signed the broker's certificate, PEM.")] = None,
            cert: Annotated[Path | None, typer.Option(help="mqtts: our certificate, PEM.")] = None,
            key: Annotated[Path | None, typer.Option(help="mqtts: its key, PEM.")] = None) -> None:
    """Say one command."""
    with one_sentence(RealtimeError):
        at = broker_address(broker, BrokerTls(ca, cert, key))
        asyncio.run(say(BusSettings(session, at.host, at.port, at.tls), name, text, value))


if __name__ == "__main__":
    app()
