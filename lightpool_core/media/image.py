"""One image file → a frame of upright RGB pixels, no larger than needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pillow_heif
from PIL import (  # noqa: F401  # formats that Pillow would look for among all it knows: slow, for each worker
    AvifImagePlugin,
    ExifTags,
    Image,
    ImageCms,
    ImageOps,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from PIL.Image import DecompressionBombError

from lightpool_core.arrays import Array, Pixels
from lightpool_core.errors import DecodeError
from lightpool_core.media.reading import MAX_PIXELS
from lightpool_core.media.source import Frame

# Pillow would also open formats that start other programs (EPS) or that nobody means by these names.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_TURNED = range(2, 9)
"""Orientations of EXIF other than upright."""
_ON_ITS_SIDE = range(5, 9)
"""Those that swap width and height."""
_TRANSPARENT_MODES = frozenset(("LA", "La", "PA", "RGBA", "RGBa"))

pillow_heif.register_heif_opener()
Image.preinit()


def read_image(file: Path, *, short_side: int | None = None, max_pixels: int = MAX_PIXELS) -> Frame:
    """The picture in `file` as a person sees it; of an animation, its first frame.

    EXIF orientation is applied, more than 8 bits per channel are scaled down to 8, transparent parts
    show a white ground. A JPEG may come smaller than it is, by 2, 4 or 8, as long as its shorter side keeps
    `short_side` pixels: several times as fast, and the averages of the same pixels. Raises DecodeError with
    the reason where no such picture can be had or it has more than `max_pixels`, OSError where the file
    cannot be read.
    """
    try:
        with Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            _check_size(width * height, max_pixels)
            if short_side is not None and min(width, height) > short_side:
                shrink = short_side / min(width, height)
                image.draft(image.mode, (int(width * shrink), int(height * shrink)))
            claimed = image.width * image.height
            image.load()
            if image.width * image.height != claimed:  # which the limit was compared with
                raise DecodeError("its picture is of another size than its header says")
            orientation = _orientation(image)
            if orientation in _ON_ITS_SIDE:
                width, height = height, width
            rgb = _to_rgb(_upright(image) if orientation in _TURNED else image)
    # Decoders of broken files raise nearly every type there is; each means the same to us,
    # unless the system says that it could not read, or has no memory: that is not the file's fault.
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise DecodeError(_reason(error, file)) from error
    return Frame(np.asarray(rgb, dtype=np.uint8), width, height)


def _check_size(n_pixels: int, max_pixels: int) -> None:
    if n_pixels > max_pixels:
        raise DecodeError(too_many_pixels(n_pixels, max_pixels))


def too_many_pixels(n_pixels: int, max_pixels: int) -> str:
    """The reason why a picture of `n_pixels` is refused."""
    return f"{n_pixels / 1e6:,.10g} megapixels, above the limit of {max_pixels / 1e6:,.10g} (setting max_megapixels)"


def _orientation(image: Image.Image) -> int | None:
    """How EXIF says that the picture is to be turned."""
    try:
        found: int | None = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # malformed EXIF says nothing about the pixels
        return None
    return found


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # as above
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        assert converted is not None  # None only with inPlace=True
        return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bit(deep: Array) -> Pixels:
    """Grey values of 16 or 32 bits → 8 bits: integers by their full range, floats by the range that they use."""
    values = np.nan_to_num(deep.astype(np.float64), posinf=0.0, neginf=0.0).clip(min=0)
    top = float(values.max(initial=0.0))
    integer_limit = 65535.0 if top <= 65535 else float(2**31 - 1)
    float_limit = next((limit for limit in (1.0, 255.0, 65535.0) if top <= limit), top)
    limit = float_limit if deep.dtype.kind == "f" else integer_limit
    return (values * (255.0 / limit) + 0.5).astype(np.uint8)


def _reason(error: Exception, file: Path) -> str:
    if isinstance(error, DecompressionBombError):  # far above any limit of ours
        return "so many pixels that it is taken for a decompression bomb"
    if isinstance(error, UnidentifiedImageError):
        return "empty file" if file.stat().st_size == 0 else "not an image in a known format"
    text = " ".join(str(error).split())
    return text or type(error).__name__
