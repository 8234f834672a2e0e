"""One run from a source to the live program: header, volumes in time, end."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scanner_bridge.client import BridgeClient
from scanner_bridge.errors import BridgeError
from scanner_bridge.keys import ClientKeys
from scanner_bridge.ports import VolumeSource
from scanner_bridge.sources import open_source
from scanner_bridge.sources.pacing import paced
from scanner_bridge.sources.settings import SourceSettings
from scanner_bridge.spool_stream import SpooledStream
from scanner_bridge.triggers.run_pulses import RunPulses
from scanner_bridge.triggers.settings import TriggerSettings
from scanner_bridge.volume import RunEnd, RunHeader, Volume
from scanner_bridge.waiting import Stop, StopRequested

_LAST_WORDS_S = 5.0


def serve(
    settings: SourceSettings,
    endpoint: str,
    speed: float | None = 1.0,
    *,
    trigger: TriggerSettings | None = None,
    keys: ClientKeys | None = None,
    spool: Path | None = None,
    flush_s: float = 60.0,
    stop: Stop | None = None,
    on_header: Callable[[RunHeader], None] = lambda header: None,
    on_volume: Callable[[Volume], None] = lambda volume: None,
) -> RunEnd:
    """Send one run and return how it ended, after everything is stored by the live program.

    Parameters
    ----------
    settings : SourceSettings
        Where volumes come from.
    endpoint : str
        Where the live program listens.
    speed : float or None
        1 is the scanner's own speed; None hands volumes over as they come.
    trigger : TriggerSettings, optional
        The scanner's trigger: its pulses are compared with the volumes, see `scanner_bridge.reconciliation`.
    keys : ClientKeys, optional
        Encrypt, and prove who we are.
    spool : Path, optional
        Folder for what waits; None takes `scanner_bridge.spool.default_folder`.
    flush_s : float
        How long to wait at the end until everything is stored there.
    stop : Stop, optional
        Ends the run early, as aborted, when it is requested.
    on_header, on_volume : callable
        Called when something was handed over, for progress.

    Returns
    -------
    end : RunEnd
        What was sent last. Aborted when the run was stopped, the source failed or ended early. Its `trigger` says
        what became of the pulses.

    Raises
    ------
    BridgeError
        There is no run to send, or the live program did not store it. What a source that fails
        during the run has to say is in the end's `reason`.
    """
    stop = stop or Stop()
    with contextlib.ExitStack() as opened:
        pulses = opened.enter_context(RunPulses(trigger)) if trigger is not None else None
        # before the source: what an earlier bridge left goes out meanwhile
        client = opened.enter_context(BridgeClient(endpoint, keys=keys, spool=spool))
        volumes = opened.enter_context(contextlib.closing(open_source(settings, sleep=stop.sleep)))
        try:
            run = paced(volumes, speed, sleep=stop.sleep)
            client.send(run.header, cancelled=stop.requested)
            on_header(run.header)
            failure = _hand_over(run, client, stop, on_volume, pulses)
        except StopRequested as error:
            raise BridgeError(f"{error} before the first volume came") from error
        volumes.close()
        assert client.run is not None  # its header was sent
        end = _end_of(client.run, failure)
        if pulses is not None:
            end = replace(end, trigger=pulses.summary(run.header.tr_s / (speed or 1.0)))
        client.send(end, cancelled=stop.requested)
        if stop.requested():
            client.flush(_LAST_WORDS_S)
        else:
            client.flush(flush_s, cancelled=stop.requested)
        return end


def _hand_over(
    run: VolumeSource,
    client: BridgeClient,
    stop: Stop,
    on_volume: Callable[[Volume], None],
    pulses: RunPulses | None,
) -> str:
    """Send every volume of a run; returns why it ended early, or nothing."""
    try:
        for volume in run:
            stop.sleep(0)
            client.send(volume, cancelled=stop.requested)
            if pulses is not None:
                pulses.came(volume)
            on_volume(volume)
    except (BridgeError, StopRequested) as error:
        return str(error)
    return ""


def _end_of(sent: SpooledStream, failure: str) -> RunEnd:
    run_id, announced, n_lost = sent.header.run_id, sent.header.n_volumes, sent.last_index + 1 - sent.n_volumes
    if failure:
        return RunEnd(run_id, sent.n_volumes, "aborted", failure)
    if announced is not None and sent.last_index + 1 < announced:
        reason = f"the run ended after volume {sent.last_index + 1} of {announced}"
        return RunEnd(run_id, sent.n_volumes, "aborted", reason)
    return RunEnd(run_id, sent.n_volumes, "complete", f"{n_lost} volumes never came" if n_lost > 0 else "")
