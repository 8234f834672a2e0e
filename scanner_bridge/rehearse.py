"""One recorded run sent again as a live export, over any way that the bridge hears."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scanner_bridge.emitters.afni import AfniEmitter
from scanner_bridge.emitters.disturbance import Disturbance
from scanner_bridge.emitters.folder import FolderEmitter, WriteStyle
from scanner_bridge.emitters.rehearsal import FileEmitter, Pace, VolumeEmitter, send_files, send_volumes
from scanner_bridge.emitters.vsend import VsendEmitter
from scanner_bridge.errors import SourceError
from scanner_bridge.sources import afni_codec, open_source, pyneal_codec, vsend_codec
from scanner_bridge.sources.address import parse_address
from scanner_bridge.sources.settings import NETWORK_KINDS, SourceSettings
from scanner_bridge.sources.store_settings import Tls, check_title

Way = Literal["folder", "cstore", "afni", "pyneal", "vsend"]
_STORE_PORT = 11112


@dataclass(frozen=True)
class Destination:
    """Where a run is sent, and how.

    Attributes
    ----------
    way : {"folder", "cstore", "afni", "pyneal", "vsend"}
        What the receiver understands.
    where : str
        A folder; else ``HOST:PORT``, this host and the protocol's own port where one is not given.
    style : {"whole", "halves", "rename"}
        folder: how a file appears.
    called, calling : str
        cstore: the receiver's title and ours.
    tls : Tls or None
        cstore: encrypt.
    data_port : int
        afni: where the receiver is told to take images.
    wait_s : float
        Network: how long to wait for the receiver.

    Raises
    ------
    SourceError
        A folder that is not named, or a title that cannot be.
    """

    way: Way
    where: str = ""
    style: WriteStyle = "whole"
    called: str = "INNEREAR"
    calling: str = "SCANNER"
    tls: Tls | None = None
    data_port: int = afni_codec.DATA_PORT
    wait_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.way == "folder" and not self.where:
            raise SourceError("a replay to a folder needs its name: replay SOURCE --to folder FOLDER")
        check_title(self.called)
        check_title(self.calling)


def rehearse(
    source: SourceSettings,
    destination: Destination,
    pace: Pace,
    disturbance: Disturbance,
    on_sent: Callable[[object], None] = lambda sent: None,
) -> int:
    """Send a recorded or simulated run as a scanner would.

    Parameters
    ----------
    source : SourceSettings
        What to send; for files (folder, cstore) a folder of DICOM files.
    destination, pace, disturbance
        Where and how, how fast, and what goes wrong.
    on_sent : callable
        Called with every volume, or path of a file, for progress.

    Returns
    -------
    n_sent : int
        Volumes or files.

    Raises
    ------
    SourceError
        The source cannot be read, or the receiver does not take it.
    """
    if source.kind in NETWORK_KINDS:
        raise SourceError(f"{source.kind} is a way in: replay a recording, or `simulated`")
    if destination.way in ("folder", "cstore"):
        return _send_files(source, destination, pace, disturbance, on_sent)
    opened = open_source(source, sleep=pace.sleep)
    try:
        return send_volumes(opened, _volume_emitter(destination, pace), pace, disturbance, on_sent)
    finally:
        opened.close()


def _send_files(
    source: SourceSettings,
    destination: Destination,
    pace: Pace,
    disturbance: Disturbance,
    on_sent: Callable[[object], None],
) -> int:
    if source.path is None or not source.path.exists():
        raise SourceError(
            f"a replay to {destination.way} needs recorded DICOM or PAR/REC files, got {source.path or source.kind}: "
            "name their folder, or replay volumes with --to afni, pyneal or vsend"
        )
    try:
        from scanner_bridge.emitters.recorded import recorded_files  # noqa: PLC0415  # pydicom is an extra

        emitter = _file_emitter(destination, pace)
    except ModuleNotFoundError as error:
        raise SourceError(f"replaying DICOM needs {error.name}: pip install 'innerear[dicom]'") from error
    return send_files(recorded_files(source.path, source.series), emitter, pace, disturbance, on_sent)


def _file_emitter(destination: Destination, pace: Pace) -> FileEmitter:
    if destination.way == "folder":
        return FolderEmitter(Path(destination.where), destination.style, pace=pace)
    from scanner_bridge.emitters.cstore import CStoreEmitter  # noqa: PLC0415  # pynetdicom is an extra

    address = parse_address(destination.where, _STORE_PORT)
    titles = (destination.called, destination.calling)
    return CStoreEmitter(address, *titles, destination.tls, destination.wait_s, pace.sleep)


def _volume_emitter(destination: Destination, pace: Pace) -> VolumeEmitter:
    where, wait_s = destination.where, destination.wait_s
    if destination.way == "afni":
        address = parse_address(where, afni_codec.DEFAULT_PORT)
        return AfniEmitter(address, destination.data_port, wait_s=wait_s, sleep=pace.sleep)
    if destination.way == "vsend":
        return VsendEmitter(parse_address(where, vsend_codec.DEFAULT_PORT), wait_s, pace.sleep)
    from scanner_bridge.emitters.pyneal import PynealEmitter  # noqa: PLC0415  # only what is used is loaded

    return PynealEmitter(parse_address(where, pyneal_codec.DEFAULT_PORT), wait_s, sleep=pace.sleep)
