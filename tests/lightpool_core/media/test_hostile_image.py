"""Small files that would fill the memory or never end."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

pillow_heif.register_heif_opener()

PEAK = 512 << 20
"""Bytes: libraries take the most of it."""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(size: tuple[int, int], *extra: bytes) -> bytes:
    """A black PNG of 1 bit a pixel that claims `size`, its pixels there as far as 64 × 64."""
    row = bytes(1 + (min(size[0], 64) + 7) // 8)
    pixels = chunk(b"IDAT", zlib.compress(row * min(size[1], 64)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + pixels + chunk(b"IEND", b"")


@cache
def squeezed(n_bytes: int) -> bytes:
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(n_bytes >> 20)) + packer.flush()


def gif(n_frames: int) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + frame * n_frames + b"\x3b"


def tiff(*entries: tuple[int, int, int, int], after: int = 0) -> bytes:
    """One directory of tag, type, count, value; `after` is where the next one begins."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + table + struct.pack("<I", after) + bytes(64)


def animated(kind: str, n_frames: int) -> bytes:
    frames = [Image.new("RGB", (16, 16), (n % 256, 0, 0)) for n in range(n_frames)]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


def jpeg(size: tuple[int, int]) -> bytes:
    """A JPEG that claims to be of another `size` than it is."""
    stream = io.BytesIO()
    Image.new("L", (16, 16)).save(stream, "JPEG")
    return stream.getvalue().replace(struct.pack(">HH", 16, 16), struct.pack(">HH", *size), 1)


GREY = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1), (278, 3, 1, 8)]
PLACED = [*GREY, (273, 4, 1, 8), (279, 4, 1, 64)]
BOMBS = {
    "png of 10 gigapixels.png": png((100_000, 100_000)),
    "png of 2^31 pixels a side.png": png((2**31 - 1, 2**31 - 1)),
    "zTXt of 256 MB.png": png((64, 64), chunk(b"zTXt", b"k\0\0" + squeezed(256 << 20))),
    "200 zTXt of 10 MB.png": png((64, 64), *[chunk(b"zTXt", b"k\0\0" + squeezed(10 << 20))] * 200),
    "iTXt of 256 MB.png": png((64, 64), chunk(b"iTXt", b"k\0\1\0\0\0" + squeezed(256 << 20))),
    "iCCP of 256 MB.png": png((64, 64), chunk(b"iCCP", b"k\0\0" + squeezed(256 << 20))),
    "jpeg of 4 gigapixels.jpg": jpeg((65_500, 65_500)),
    "ppm of 10 gigapixels.ppm": b"P6\n100000 100000\n255\n\0",
    "ppm of a long number.ppm": b"P6\n" + b"9" * 5_000_000 + b" 1\n255\n",
    "bmp of 4 gigapixels.bmp": b"BM"
    + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 65_000, 65_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "gif of 10000 frames.gif": gif(10_000),
    "webp of 300 frames.webp": animated("WEBP", 300),
    "avif of 50 frames.avif": animated("AVIF", 50),
    "heif of 50 frames.heic": animated("HEIF", 50),
    "tiff in a circle.tif": tiff(*PLACED, after=8),
    "tiff of 2^32 values.tif": tiff(*GREY, (273, 4, 2**32 - 1, 8), (279, 4, 2**32 - 1, 8)),
    "tiff of a long text.tif": tiff(*PLACED, (270, 2, 2**32 - 1, 8)),
    "tiff of 65535 channels.tif": tiff(*[(277, 3, 1, 65_535) if tag == 277 else (tag, *rest) for tag, *rest in PLACED]),  # type: ignore[misc]
    "tiff of 16 gigapixels.tif": tiff(
        *[(tag, 4, 1, 2**17) if tag in (256, 257) else (tag, *rest) for tag, *rest in PLACED]
    ),  # type: ignore[misc]
}
READ = """
import json, resource, sys
from pathlib import Path
from lightpool_core.errors import DecodeError
from lightpool_core.media.image import read_image
try:
    frame = read_image(Path(sys.argv[1]))
    told = [frame.width, frame.height]
except DecodeError as error:
    told = str(error)
if sys.platform == "linux":  # what getrusage tells includes the process that this one was forked from
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = int(status["VmHWM"].split()[0]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([told, peak]))
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_a_small_picture_or_one_line_and_fills_no_memory(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(BOMBS[name])
    assert file.stat().st_size < 12_000_000
    done = subprocess.run([sys.executable, "-c", READ, file], capture_output=True, text=True, check=True, timeout=120)
    told, peak = json.loads(done.stdout)
    assert peak < PEAK
    if isinstance(told, str):
        assert told
        assert "\n" not in told
        assert str(tmp_path) not in told
    else:
        assert max(told) <= 64
