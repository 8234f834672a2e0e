"""Volumes that came after the live program had given them up: no evidence, but images that a person lay still for."""

from collections.abc import Collection, Iterator
from pathlib import Path

from offline_training.bids.images import RunImage, Storage
from realtime.session.entries import MessageEntry, read_entry
from realtime.session.journal import stream_journal
from scanner_bridge.errors import WireError
from scanner_bridge.volume import RunHeader, Volume
from scanner_bridge.wire import decode, unpack


def journalled(journal: Path) -> Iterator[RunHeader | Volume]:
    """Headers and volumes of a journal in the order in which they came; what cannot be read is left out."""
    for record in stream_journal(journal):
        entry = read_entry(record)
        if not isinstance(entry, MessageEntry):
            continue
        try:
            message = decode(unpack(entry.blob))
        except WireError:
            continue
        if isinstance(message, RunHeader | Volume):
            yield message


def write_late(path: Path, journal: Path, header: RunHeader, storage: Storage, given_up: Collection[int]) -> list[int]:
    """Write those of the given-up volumes that came after all, in the order in which they came.

    Parameters
    ----------
    path : Path
        NIfTI file to make; none is made where no volume came late.
    journal : Path
        Of the session.
    header : RunHeader
        Of the run they belong to.
    storage : Storage
        Of that run's volumes.
    given_up : collection of int
        Volumes that were taken for lost.

    Returns
    -------
    indices : list of int
        Of the volumes written.
    """
    def late() -> Iterator[Volume]:
        seen = set()
        for message in journalled(journal):
            if (isinstance(message, Volume) and message.run_id == header.run_id and message.index in given_up
                    and message.index not in seen and message.data.shape == header.shape):
                seen.add(message.index)
                yield message

    indices = [volume.index for volume in late()] if given_up else []
    if indices:
        with RunImage(path, header, len(indices), storage) as image:
            for volume in late():
                image.write(volume)
    return indices
