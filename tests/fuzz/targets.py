"""What strange bytes are given to: every place where bytes from outside become values.

A target takes any bytes and comes back; it lets nothing through but what its decoder says it raises.
Checksums are made right again where they would keep every mutation out.
"""

from collections.abc import Callable

from scanner_bridge import wire_headers
from scanner_bridge.envelope import Envelope, Stamps
from scanner_bridge.errors import SourceError, SpoolError, WireError
from scanner_bridge.framing import frame
from scanner_bridge.sources import afni_codec, pyneal_codec, vsend_codec
from scanner_bridge.sources.series import Assembler
from scanner_bridge.spool_segment import MAGIC, Preamble, scan_segment
from scanner_bridge.wire import decode, unpack

Target = Callable[[bytes], None]


def wire(data: bytes) -> None:
    """A message as it comes from a socket, and its header behind a checksum that is right."""
    for head, payload in ((data[:64], data[64:]), (data, b"")):
        _only(WireError, decode, [head, payload])
    _only(WireError, lambda: decode(unpack(data)))
    if data and data[0] % 4 < 3:
        length = int.from_bytes(data[1:3], "little")
        header, payload = data[3 : 3 + length], memoryview(data[3 + length :])
        _only(WireError, wire_headers.read_header, data[0] % 4 + 1, header, payload)
    _only(WireError, Envelope.from_bytes, data)
    _only(WireError, Stamps.from_bytes, data)


def dicom(data: bytes) -> None:
    """An object from a folder or over C-STORE, twice, as a file that is sent again."""
    assembler = Assembler("fuzz")
    for name in ("first", "again"):
        assembler.take(name, data)


def par_rec(data: bytes) -> None:
    """A PAR file with its REC file behind it."""
    dicom(_PAR_BEGINS + data)


def afni(data: bytes) -> None:
    """Both channels of an AFNI sender."""
    _only(SourceError, afni_codec.decode_control, data)

    def commands_and_image() -> None:
        run = afni_codec.decode_commands(data)
        if run is not None:
            begin = data.index(b"\0") + 1
            afni_codec.decode_image(data[begin : begin + run.n_image_bytes], run)

    _only(SourceError, commands_and_image)


def vsend(data: bytes) -> None:
    """A header of either size and the pixels behind it."""

    def header_and_pixels() -> None:
        header = vsend_codec.decode_header(data)
        if header is not None:
            vsend_codec.decode_pixels(data[header.size : header.size + header.n_pixel_bytes], header)

    _only(SourceError, header_and_pixels)


def pyneal(data: bytes) -> None:
    """The two parts of a message."""
    head, _, voxels = data.partition(b"\0")
    _only(SourceError, lambda: pyneal_codec.decode_voxels(voxels, pyneal_codec.decode_header(head)))


def spool(data: bytes) -> None:
    """A segment as a killed bridge or a bad disk left it, and a run's name in a frame that is right."""
    for content in (data, frame(MAGIC, 1, 0, data)):
        _only(SpoolError, scan_segment, content, "fuzz")
    _only(WireError, Preamble.from_bytes, data)


TARGETS: dict[str, Target] = {
    target.__name__: target for target in (wire, dicom, par_rec, afni, vsend, pyneal, spool)
}
_PAR_BEGINS = b"# === DATA DESCRIPTION FILE ===="


def _only(allowed: type[Exception], decoder: Callable[..., object], *arguments: object) -> None:
    try:
        decoder(*arguments)
    except allowed as refusal:
        if not str(refusal).strip():
            raise AssertionError(f"{type(refusal).__name__} without a sentence") from refusal
