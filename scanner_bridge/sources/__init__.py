"""Where volumes come from: one file per kind of source, one function that opens any of them.

settings      what can be said about a source
replay        a recorded 4-D NIfTI, as a scanner would send it
sidecar       TR and slice times of a recording, from its JSON or its header
simulated     a synthetic phantom, every volume marked with its index
dicom_folder  a folder in which a scanner writes DICOM files or PAR/REC pairs, or one of them (object_files)
survey        what such a folder holds, what is left alone and why
series        DICOM objects in any order to whole volumes (assembly: one series; slice_stack: its geometry;
              verdict: what became of one object)
ordering      when a whole volume is let go, and when a missing one is given up
dicom_reader  one object's bytes to slices with a volume, a place and a time (dicom_image); by kind of object:
              dicom_tiles (Siemens mosaic, UIH grid), dicom_frames (enhanced), dicom_slices (one per slice; dicom_ge)
dicom_object  one object's allowed fields and pixels (dicom_fields: the allow-list; dicom_elements: the walk)
dicom_rules   which images are left alone
par_rec       one Philips PAR/REC pair to the same slices
afni          AFNI's real-time protocol, as Dimon sends it; afni_codec its bytes
pyneal        Pyneal's ZeroMQ protocol; pyneal_codec its bytes
cstore        a scanner or PACS that stores over DICOM's network protocol; cstore_server listens
vsend         a scanner that sends to MURFI; vsend_codec its bytes
door          who may connect; grid what they may announce; sequence which volumes are the run's
pacing        hands volumes over when a scanner would
"""

import time
from collections.abc import Callable
from pathlib import Path

from scanner_bridge.errors import SourceError
from scanner_bridge.ports import VolumeSource
from scanner_bridge.sources.settings import NETWORK_KINDS, SourceSettings, settings_for

_NIFTI = (".nii", ".nii.gz")


def open_source(settings: SourceSettings | str | Path, *, sleep: Callable[[float], None] = time.sleep) -> VolumeSource:
    """Open a source of volumes.

    Parameters
    ----------
    settings : SourceSettings, str or Path
        What `settings_for` understands: a path, ``simulated``, ``afni``, ``vsend://:15000``, ...
    sleep : callable
        How a source that has to wait for files waits; it may raise to end the wait.

    Returns
    -------
    source : VolumeSource
        Close it after use.

    Raises
    ------
    SourceError
        There is nothing there, or nothing that any source can read.
    """
    if not isinstance(settings, SourceSettings):
        settings = settings_for(str(settings))
    if settings.kind in NETWORK_KINDS:
        return _open_network(settings, sleep)
    kind, path = locate(settings)
    if kind == "simulated":
        from scanner_bridge.sources.simulated import SimulatedSource  # noqa: PLC0415  # only what is used is loaded

        return SimulatedSource(settings)
    if path is None:
        raise SourceError(f"a {kind} source needs a path: name the file or folder to read")
    if kind == "replay":
        from scanner_bridge.sources.replay import ReplaySource  # noqa: PLC0415  # only what is used is loaded

        return ReplaySource(path)
    from scanner_bridge.sources.dicom_folder import DicomFolderSource  # noqa: PLC0415  # only what is used is loaded

    return DicomFolderSource(path, settings, sleep=sleep)


def _open_network(settings: SourceSettings, sleep: Callable[[float], None]) -> VolumeSource:
    if settings.kind == "afni":
        from scanner_bridge.sources.afni import AfniSource  # noqa: PLC0415  # only what is used is loaded

        return AfniSource(settings, sleep=sleep)
    if settings.kind == "pyneal":
        from scanner_bridge.sources.pyneal import PynealSource  # noqa: PLC0415  # only what is used is loaded

        return PynealSource(settings, sleep=sleep)
    if settings.kind == "cstore":
        try:
            from scanner_bridge.sources.cstore import CStoreSource  # noqa: PLC0415  # pynetdicom is an extra
        except ModuleNotFoundError as error:
            raise SourceError(
                f"receiving C-STORE needs {error.name}: install it with pip install 'innerear[dicom]'"
            ) from error
        return CStoreSource(settings, sleep=sleep)
    from scanner_bridge.sources.vsend import VsendSource  # noqa: PLC0415  # only what is used is loaded

    return VsendSource(settings, sleep=sleep)


def locate(settings: SourceSettings) -> tuple[str, Path | None]:
    """Kind and exact path of a source; looks at names, and for DICOM at four bytes of content.

    Raises
    ------
    SourceError
        There is nothing there, or nothing that any source can read.
    """
    path = settings.path
    if settings.kind == "simulated" or path is None:
        return settings.kind, path
    if not path.exists():
        raise SourceError(f"{path} does not exist: check the path, and that the scanner's share is mounted")
    if settings.kind != "auto":
        return settings.kind, path
    if path.is_file():
        if path.name.endswith(_NIFTI):
            return "replay", path
        if _is_image(path):
            return "dicom_folder", path
        raise SourceError(
            f"{path.name} is not a file the bridge reads: give a 4-D NIfTI (.nii, .nii.gz), a DICOM or PAR file, "
            "or the folder of a DICOM or PAR/REC series"
        )
    for folder in (path, path / "dicom"):
        if folder.is_dir() and any(_is_image(file) for file in folder.iterdir()):
            return "dicom_folder", folder
    recordings = sorted(file for file in path.iterdir() if file.name.endswith(_NIFTI))
    if len(recordings) == 1:
        return "replay", recordings[0]
    if recordings:
        names = ", ".join(file.name for file in recordings[:5])
        raise SourceError(f"{path} holds {len(recordings)} NIfTI files ({names}, ...): name the one to replay")
    return "dicom_folder", path


def _is_image(file: Path) -> bool:
    """Whether a file is DICOM or the PAR file of a PAR/REC pair."""
    if not file.is_file():
        return False
    with open(file, "rb") as opened:
        return opened.read(132)[128:] == b"DICM" or file.suffix.lower() == ".par"
