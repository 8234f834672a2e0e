"""Right bytes to begin from: what our own encoders and writers make, one small file per kind."""

import struct
from pathlib import Path

import numpy as np

from scanner_bridge.envelope import Envelope, Kind, Stamps
from scanner_bridge.framing import frame
from scanner_bridge.sources import afni_codec, pyneal_codec, vsend_codec
from scanner_bridge.sources.grid import Grid
from scanner_bridge.spool_segment import MAGIC, Preamble
from scanner_bridge.volume import RunEnd, RunHeader, TriggerSummary, Volume
from scanner_bridge.wire import encode, pack
from scanner_bridge.wire_headers import write_header
from tests import dicom_builder

SHAPE = (4, 4, 3)
_VOXELS = np.arange(48, dtype="<i2").reshape(SHAPE)
_RUN = RunHeader("run", SHAPE, "<i2", np.diag([3.0, 3, 4, 1]), 1.5, 9, (0.0, 0.5, 1.0), "a phantom", "clock", 2.0)


def seeds() -> dict[str, list[bytes]]:
    """Inputs of every target."""
    return {"wire": _wire(), "dicom": _dicom(), "par_rec": [_par_rec()], "afni": _afni(), "vsend": _vsend(),
            "pyneal": _pyneal(), "spool": _spool()}


def write_seeds(folder: Path, target: str) -> None:
    """One file per input of a target."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds()[target]):
        (folder / f"seed-{number:02d}").write_bytes(content)


def _wire() -> list[bytes]:
    volume = Volume(3, _VOXELS, _RUN.affine, 1.5, "run", 2.0, 1.5, -3.0)
    messages = (_RUN, volume, RunEnd("run", 4, "aborted", "stopped"),
                RunEnd("run", 4, trigger=TriggerSummary(5, 1, 1, 0, 1, 1.5, None, "no pulse for volumes 2")))
    found = [Envelope(Kind.DATA, bytes(16), 4, 1).to_bytes(), Stamps(1.0, 2.0, 3.0).to_bytes()]
    for message in messages:
        head, payload = encode(message)
        kind, header, payload = write_header(message)
        found += [pack([head, payload]), head + payload, struct.pack("<BH", kind - 1, len(header)) + header + payload]
    return found


def _dicom() -> list[bytes]:
    return [dicom_builder.xa_classic_slice(0, 1), dicom_builder.ge_slice(1, 0), dicom_builder.ge_slice(0, 0, bands=2),
            dicom_builder.philips_slice(0, 0), dicom_builder.plain_slice(0, 0), dicom_builder.enhanced([0, 1])]


def _afni() -> list[bytes]:
    grid = Grid(SHAPE, "<i2", _RUN.affine, 1.5)
    found = [afni_codec.encode_control("localhost", 7954)]
    for order in ((), (0, 1, 2)):
        run = afni_codec.AfniRun(grid, order, (0.0, 0.5, 1.0), 1)
        found.append(afni_codec.encode_commands(run) + afni_codec.encode_image(_VOXELS, run))
    return found


def _vsend() -> list[bytes]:
    header = vsend_codec.VsendHeader(Grid(SHAPE, "<i2", _RUN.affine, 1.5), "1.2.3", "EPI", 0, 9, False, False, 616)
    return [vsend_codec.encode(_VOXELS, header, layout=layout, sizes=sizes)
            for layout in ("aligned", "packed") for sizes in (True, False)]


def _pyneal() -> list[bytes]:
    header = pyneal_codec.PynealHeader(2, Grid(SHAPE, "<i2", _RUN.affine, 1.5))
    return [pyneal_codec.encode_header(header) + b"\0" + pyneal_codec.encode_voxels(_VOXELS, header)]


def _spool() -> list[bytes]:
    preamble = Preamble(bytes(16), _RUN, 2, 3).to_bytes()
    message = frame(MAGIC, 2, 1, pack(encode(RunEnd("run", 4))))
    return [preamble, frame(MAGIC, 1, 0, preamble) + message, frame(MAGIC, 1, 0, preamble) + message[:-3]]


def _par_rec() -> bytes:
    """One slice of 2 by 2, without the first words of the file, which the target puts before everything."""
    named = {"Acquisition nr": "1", "Max. number of slices/locations": "1", "Max. number of dynamics": "1",
             "Repetition time [ms]": "2000",
             "FOV (ap,fh,rl) [mm]": "6 4 6", "Angulation midslice(ap,fh,rl)[degr]": "0 5 0",
             "Off Centre midslice(ap,fh,rl) [mm]": "1 2 3", "Max. number of echoes": "1"}
    general = [f".    {name:<35}:   {value}" for name, value in named.items()]
    row = ("1 1 1 0 16 0 0 16 0 2 2 0 1.5 0.004 100 200 0 5 0 1 2 3 4 0 0 1 0 0 3 3 30 0 0 0 0 79 "
           "0 0 0 0 0 0 0 11 0 0 0 0 0")
    lines = ["=", "# CLINICAL TRYOUT             Research image export tool     V4.2",
             "# === GENERAL INFORMATION ====", "#", *general, "#", "# === PIXEL VALUES ====", "#",
             "# === IMAGE INFORMATION DEFINITION ====", "#", "# === IMAGE INFORMATION ====", row, "",
             "# === END OF DATA DESCRIPTION FILE ====", ""]
    return "\r\n".join(lines).encode() + np.arange(4, dtype="<u2").tobytes()
