"""What is special to GE: slices per volume, TR with its group delay, slice times from the protocol.

The order of excitations is not in the slices' headers: `SLICEORDER` of the compressed protocol block
(0025,101B) states it, with the multiband factor of (0043,10B6) and the delay of (0043,107C), as
dcm2niix's notes on GE have it (dcm_qa_ge; Cohen et al. 2015, figure 3, for multiband). The slice
timer (0021,105E) is wrong in the first volume of a run: it serves only where the block is missing.
"""

import re
import zlib
from functools import lru_cache

from scanner_bridge.sources.dicom_fields import Fields

_MAX_PROTOCOL_BYTES = 1 << 20
_SLICE_ORDER = re.compile(rb'SLICEORDER\s+"(\d)"|SLICEORDER="(\d)"')
_RELEASE = re.compile(r"(?:DV|MR)?(\d{2})\.(\d)_R(\d{2})")


def ge_slices(fields: Fields) -> int | None:
    """Slices of one volume: LocationsInAcquisition (0021,104F), else ImagesInAcquisition."""
    n_slices = fields.integer("GeLocationsInAcquisition", 0) or fields.integer("ImagesInAcquisition", 0)
    return n_slices if n_slices > 0 else None


def ge_tr_s(fields: Fields) -> float:
    """Time from volume to volume: the stated TR leaves out the delay after each volume (epiRT's group delay)."""
    return fields.number("RepetitionTime") / 1000 + fields.number("GeGroupDelay", 0.0)


def ge_slice_time_s(fields: Fields, rank: int, n_slices: int) -> float | None:
    """When a slice was taken.

    Parameters
    ----------
    fields : Fields
        Of its header.
    rank : int
        Its place among the volume's slices, from 0.
    n_slices : int
        Slices of a volume.
    """
    interleaved = _interleaved(fields.raw("GeProtocol"))
    if interleaved is None:
        timers = (*fields.numbers("GeSliceTimer"), *(ms / 1000 for ms in fields.numbers("TriggerTime")))
        return timers[0] if timers else None
    bands = max(int(_leading_number(fields, "GeMultiband")), 1)
    n_excitations, swapped = _excitations(n_slices, bands, _release(fields))
    step_s = fields.number("RepetitionTime") / 1000 / n_excitations
    return _turn(rank % n_excitations, n_excitations, interleaved, swapped) * step_s


def _excitations(n_slices: int, bands: int, release: tuple[int, int]) -> tuple[int, bool]:
    """Excitations of a volume, and whether the last odd ones are exchanged (multiband, from release 27 R03 on)."""
    n_excitations = -(-n_slices // bands)
    if bands == 1 or n_excitations % 2:
        return n_excitations, False
    if release >= (27, 3):
        return n_excitations, n_excitations > 2
    return n_excitations + 1, False


def _turn(rank: int, n_excitations: int, interleaved: bool, swapped: bool) -> int:
    """Which excitation takes a slice: interleaved, first those of even rank."""
    if not interleaved:
        return rank
    if swapped and rank in (n_excitations - 1, n_excitations - 3):
        rank = 2 * n_excitations - 4 - rank
    return rank // 2 if rank % 2 == 0 else (n_excitations - 1) // 2 + (rank + 1) // 2


@lru_cache(maxsize=8)  # every slice of a run carries the same block
def _interleaved(block: bytes) -> bool | None:
    """SLICEORDER of a protocol block (gzip behind a length); None where it cannot be had."""
    start = block.find(b"\x1f\x8b")
    if start < 0:
        return None
    try:
        text = zlib.decompressobj(31).decompress(block[start:], _MAX_PROTOCOL_BYTES)
    except zlib.error:
        return None
    found = _SLICE_ORDER.search(text)
    return (found.group(1) or found.group(2)) == b"1" if found else None


def _leading_number(fields: Fields, keyword: str) -> float:
    words = fields.words(keyword)
    return float(words[0]) if words and words[0].isascii() and words[0].isdigit() else 0.0


def _release(fields: Fields) -> tuple[int, int]:
    """Major release and revision of the scanner's software: (26, 1) of DV26.0_R01."""
    found = _RELEASE.search(" ".join(fields.words("SoftwareVersions")))
    return (int(found.group(1)), int(found.group(3))) if found else (0, 0)
