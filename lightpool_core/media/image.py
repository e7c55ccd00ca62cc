"""One image file → upright RGB pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from lightpool_core.arrays import Array, Pixels
from lightpool_core.errors import DecodeError

# Pillow would also open formats that start other programs (EPS) or that nobody means by these names.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_TRANSPARENT_MODES = frozenset(("LA", "La", "PA", "RGBA", "RGBa"))

pillow_heif.register_heif_opener()
Image.init()  # Pillow would load its formats at first use, in several workers at once


def read_image(file: Path) -> Pixels:
    """The picture in `file` (H, W, 3) as a person sees it; of an animation, its first frame.

    EXIF orientation is applied, more than 8 bits per channel are scaled down to 8, transparent parts
    show a white ground. Raises DecodeError with the reason where no such picture can be had,
    OSError where the file cannot be read.
    """
    try:
        with Image.open(file, formats=_FORMATS) as image:
            image.load()
            rgb = _to_rgb(_upright(image))
    # Decoders of broken files raise nearly every type there is; each means the same to us,
    # unless the system says that it could not read, or has no memory: that is not the file's fault.
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise DecodeError(_reason(error, file)) from error
    return np.asarray(rgb, dtype=np.uint8)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # malformed EXIF says nothing about the pixels
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
    return image.convert("RGB")


def _to_8_bit(deep: Array) -> Pixels:
    """Grey values of 16 or 32 bits → 8 bits: integers by their full range, floats by the range that they use."""
    values = np.nan_to_num(deep.astype(np.float64), posinf=0.0, neginf=0.0).clip(min=0)
    top = float(values.max(initial=0.0))
    integer_limit = 65535.0 if top <= 65535 else float(2**31 - 1)
    float_limit = next((limit for limit in (1.0, 255.0, 65535.0) if top <= limit), top)
    limit = float_limit if deep.dtype.kind == "f" else integer_limit
    return (values * (255.0 / limit) + 0.5).astype(np.uint8)


def _reason(error: Exception, file: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "empty file" if file.stat().st_size == 0 else "not an image in a known format"
    text = " ".join(str(error).split())
    return text or type(error).__name__
