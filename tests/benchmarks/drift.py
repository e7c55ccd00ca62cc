"""How much do embeddings move with what should not matter: decoding to a smaller size, and precision?

    python tests/benchmarks/drift.py DATA [--weights FILE] [--sizes 96,128,160,200] [--photos 758] [--rounded 758]

DATA holds `images/<class>/*` (JPEG photos), `videos/*.mp4` and, unless --weights names the file,
`weights/mobilenetv2_100.timm.safetensors`. Prints cosines between embeddings of the same picture: decoded as small
as `short_side` allows and in full, for several sizes of the network's input and several times that size; computed
in bfloat16 or float16 and in float32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from lightpool_core.arrays import Array, Embeddings, Pixels, unit_rows
from lightpool_core.media.image import read_image
from lightpool_core.media.video import VideoStream
from lightpool_plugins.embedders.timm_models import Timm

WEIGHTS = "weights/mobilenetv2_100.timm.safetensors"
FACTORS = (1.0, 1.25, 1.5, 2.0, 3.0)
BATCH = 64
LOWER: tuple[Literal["bf16", "fp16"], ...] = ("bf16", "fp16")
QUANTILES = (0.0, 0.01, 0.5)


def embedded(embedder: Timm, batch: Array) -> Embeddings:
    """Unit embeddings, in batches."""
    parts = [embedder.embed(batch[start : start + BATCH]) for start in range(0, len(batch), BATCH)]
    return unit_rows(np.concatenate(parts))


def prepared(embedder: Timm, pictures: Iterable[Pixels]) -> Array:
    """(N, S, S, 3) of what `pictures` yields, one after the other."""
    return np.stack([embedder.prepare(pixels) for pixels in pictures])


def show(name: str, one: Embeddings, other: Embeddings, note: str = "") -> None:
    """One row of a table."""
    cosines = (one.astype(np.float64) * other).sum(1)
    print(f"{name:36}" + "".join(f"{value:10.5f}" for value in np.quantile(cosines, QUANTILES)) + f"  {note}")


def decoding(embedder: Timm, what: str, decode: Callable[[int | None], Iterable[Pixels]]) -> None:
    """Rows for one source of pictures: decoded for so many times the size of the input, against in full."""
    size, before = embedder.preparer().height, list[int]()
    pixels, whole = _prepared_with_sides(embedder, decode(None))
    full = embedded(embedder, pixels)
    for factor in FACTORS:
        pixels, sides = _prepared_with_sides(embedder, decode(round(factor * size)))
        if sides not in (before, whole):
            shrunk = [side for side, own in zip(sides, whole, strict=True) if side < own]
            note = f"{len(shrunk)} of {len(sides)} smaller, {min(shrunk) / size:.2f} x the input"
            show(f"{what}, input {size}, asked {factor:g} x", embedded(embedder, pixels), full, note)
        before = sides


def _prepared_with_sides(embedder: Timm, pictures: Iterable[Pixels]) -> tuple[Array, list[int]]:
    """What is embedded, and the shorter side of each picture as decoded."""
    sides: list[int] = []

    def noting() -> Iterable[Pixels]:
        for pixels in pictures:
            sides.append(min(pixels.shape[:2]))
            yield pixels

    return prepared(embedder, noting()), sides


def photo_decoder(photos: Sequence[Path]) -> Callable[[int | None], Iterable[Pixels]]:
    """Decodes `photos` to a shorter side of at least so many pixels, or in full."""
    return lambda short: (read_image(photo, short_side=short).pixels for photo in photos)


def video_decoder(videos: Sequence[Path], per_second: float) -> Callable[[int | None], Iterable[Pixels]]:
    """Decodes frames of `videos` to a shorter side of so many pixels, or in full."""

    def decode(short: int | None) -> Iterable[Pixels]:
        for video in videos:
            with VideoStream(video, fps=per_second, short_side=short) as stream:
                for frame in stream:
                    yield frame.pixels

    return decode


def precision(embedder: Timm, photos: Sequence[Path]) -> None:
    """Rows for lower precisions against float32."""
    batch = prepared(embedder, photo_decoder(photos)(None))
    exact = embedded(embedder, batch)
    for lower in LOWER:
        started = time.perf_counter()
        rough = embedded(replace(embedder, precision=lower), batch)
        show(f"{lower} against fp32", rough, exact, f"{len(batch) / (time.perf_counter() - started):.0f} pictures/s")


def main() -> None:
    """Reads the command line, prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, help=f"of mobilenetv2_100, Coral's; otherwise DATA/{WEIGHTS}")
    parser.add_argument("--sizes", default="96,128,160,200", help="of the network's input, for photos")
    parser.add_argument("--photos", type=int, default=758)
    parser.add_argument("--rounded", type=int, default=758, help="photos to try lower precisions with; few are slow")
    parser.add_argument("--seconds", type=float, default=2.0, help="between two frames of a video")
    options = parser.parse_args()
    embedder = Timm(
        model="mobilenetv2_100",
        pretrained=str(options.weights or options.data / WEIGHTS),
        mean="0.5",
        std="0.5",
        arguments="num_classes=1001,pad_type=same",
        device="cpu",
        precision="fp32",
    )
    photos, videos = sorted(options.data.glob("images/*/*")), sorted(options.data.glob("videos/*.mp4"))
    photos = photos[:: max(1, len(photos) // options.photos)]
    print(f"{len(photos)} photos".ljust(36) + "".join(f"{q:10.0%}" for q in QUANTILES))
    precision(embedder, photos[:: max(1, len(photos) // options.rounded)])
    decoding(embedder, "videos", video_decoder(videos, 1 / options.seconds))
    for size in map(int, options.sizes.split(",")):
        decoding(replace(embedder, size=size), "photos", photo_decoder(photos))


if __name__ == "__main__":
    main()
