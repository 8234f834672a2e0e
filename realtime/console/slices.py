"""Slices as pictures: a PNG of the volume and the outline of the decoder's voxels. Pure."""

import base64
import struct
import zlib
from functools import lru_cache
from html import escape

from realtime.console.charts import YELLOW
from realtime.console.story import Plane

_ENDS = {"sagittal": ("P", "A"), "coronal": ("L", "R"), "axial": ("L", "R")}


def picture(plane: Plane) -> str:
    """An SVG of one slice; nothing where its pixels are not what its size says."""
    png = _png(plane.pixels, plane.width, plane.height)
    if not png:
        return ""
    left, right = _ENDS.get(plane.name, ("", ""))
    outline, size = _outline(plane.voxels), max(plane.width, plane.height) / 11
    return (f'<svg viewBox="0 0 {plane.width} {plane.height}" class="slice" role="img" '
            f'aria-label="{escape(plane.name)}"><image href="data:image/png;base64,{png}" width="{plane.width}" '
            f'height="{plane.height}"/><path d="{outline}" fill="{YELLOW}" fill-opacity="0.25" stroke="{YELLOW}" '
            f'stroke-width="0.45"/><text x="1" y="{size}" font-size="{size:.1f}">{left}</text>'
            f'<text x="{plane.width - 1}" y="{size}" font-size="{size:.1f}" text-anchor="end">{right}</text></svg>')


@lru_cache(maxsize=8)
def _png(pixels: str, width: int, height: int) -> str:
    try:
        raw = base64.b64decode(pixels)
    except ValueError:
        return ""
    if not 0 < width <= 1024 or len(raw) != width * height:
        return ""
    rows = b"".join(b"\0" + raw[start:start + width] for start in range(0, len(raw), width))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 3)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
                    for name, data in chunks)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


@lru_cache(maxsize=8)
def _outline(voxels: tuple[int, ...]) -> str:
    """Unit squares, joined along rows."""
    places = sorted(zip(voxels[1::2], voxels[::2], strict=False))
    words: list[str] = []
    run: list[int] = []
    for y, x in places:
        if run and (run[0], run[1] + run[2]) == (y, x):
            run[2] += 1
            continue
        words += [_box(*run)] if run else []
        run = [y, x, 1]
    return " ".join([*words, *([_box(*run)] if run else [])])


def _box(y: int, x: int, width: int) -> str:
    return f"M{x} {y}h{width}v1h-{width}z"
