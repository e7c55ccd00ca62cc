"""How far apart are copies of one picture, and how close are different pictures?

    python tests/benchmarks/near_duplicate.py DATA_DIR [--embedder gist] [-e KEY=VALUE] [--photos 190]

DATA_DIR holds `images/<class>/*` (photos), `neardup/base_images/*` (different scenes) and `videos/*.mp4`.
Prints Euclidean distances of unit embeddings and the range that `near_duplicate` can be chosen from: above
99 % of the copies that must count as the same (95 % of those cropped by 2 %), below the closest 0.1 % of
different photos and any two scenes.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from lightpool_core.arrays import Distances, Embeddings, Pixels, unit_rows
from lightpool_core.embedding.embedder import Embedder
from lightpool_core.media.ffmpeg import ffmpeg_command
from lightpool_core.registry import make, names
from lightpool_core.settings import PluginChoice

BATCH = 64
FRAME = (640, 480)


def scaled(picture: Image.Image, factor: float) -> Image.Image:
    """Resized by `factor`."""
    size = round(picture.width * factor), round(picture.height * factor)
    return picture.resize(size, Image.Resampling.LANCZOS)


def compressed(picture: Image.Image, quality: int) -> Image.Image:
    """Through JPEG once more."""
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=quality)
    return Image.open(stored).convert("RGB")


def cropped(picture: Image.Image, share: float) -> Image.Image:
    """Without `share` of its width and height on each side."""
    x, y = round(picture.width * share), round(picture.height * share)
    return picture.crop((x, y, picture.width - x, picture.height - y))


SAME: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resized to 50 %": lambda picture: scaled(picture, 0.5),
    "resized to 75 %": lambda picture: scaled(picture, 0.75),
    "resized to 150 %": lambda picture: scaled(picture, 1.5),
    "JPEG quality 90": lambda picture: compressed(picture, 90),
    "JPEG quality 50": lambda picture: compressed(picture, 50),
    "JPEG quality 30": lambda picture: compressed(picture, 30),
    "10 % brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "10 % darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.9),
    "blurred, 1 pixel": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
}
SIMILAR: dict[str, Callable[[Image.Image], Image.Image]] = {
    "cropped by 2 %": lambda picture: cropped(picture, 0.02),
    "cropped by 5 %": lambda picture: cropped(picture, 0.05),
    "mirrored": ImageOps.mirror,
    "rotated by 180": lambda picture: picture.rotate(180),
}


def embed(embedder: Embedder, pictures: Iterable[Image.Image]) -> Embeddings:
    """Unit embeddings of `pictures`, in batches."""
    inputs = np.stack([embedder.prepare(np.asarray(picture)) for picture in pictures])
    batches = [embedder.embed(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH)]
    return unit_rows(np.concatenate(batches))


def load(paths: Sequence[Path]) -> Iterable[Image.Image]:
    """Pictures one after the other."""
    return (Image.open(path).convert("RGB") for path in paths)


def frames(video: Path, per_second: float) -> list[Image.Image]:
    """Frames of `video` at an even pace."""
    command = [ffmpeg_command(), "-nostdin", "-loglevel", "error", "-i", str(video)]
    form = [
        "-vf",
        f"fps={per_second},scale={FRAME[0]}:{FRAME[1]}",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    raw = subprocess.run(command + form, capture_output=True, check=True).stdout
    pixels: Pixels = np.frombuffer(raw, np.uint8).reshape(-1, FRAME[1], FRAME[0], 3)
    return [Image.fromarray(frame) for frame in pixels]


def between(embeddings: Embeddings) -> Distances:
    """Distances of all pairs."""
    pairs = np.triu_indices(len(embeddings), 1)
    distances: Distances = np.sqrt(np.maximum(0, 2 - 2 * (embeddings @ embeddings.T)[pairs]))
    return distances


def show(name: str, distances: Distances, quantiles: Sequence[float]) -> None:
    """One row of a table."""
    print(f"{name:32}" + "".join(f"{value:8.3f}" for value in np.quantile(distances, quantiles)))


def copies(embedder: Embedder, originals: Sequence[Image.Image]) -> float:
    """Prints how far copies are from their originals; returns what must still count as the same."""
    base = embed(embedder, originals)
    quantiles = (0.5, 0.95, 0.99, 1.0)
    print(f"\n{len(originals)} copies each".ljust(33) + "".join(f"{q:8.0%}" for q in quantiles))
    needed = 0.0
    for name, change in (SAME | SIMILAR).items():
        moved = np.linalg.norm(embed(embedder, (change(picture) for picture in originals)) - base, axis=1)
        show(name, moved, quantiles)
        if name in SAME and name != "JPEG quality 30":
            needed = max(needed, float(np.quantile(moved, 0.99)))
        if name == "cropped by 2 %":
            needed = max(needed, float(np.quantile(moved, 0.95)))
    return needed


def others(embedder: Embedder, photos: Sequence[Path], scenes: Sequence[Path]) -> float:
    """Prints how close different pictures are; returns the distance that must no longer count as the same."""
    quantiles = (0.0, 0.001, 0.01, 0.05, 0.5)
    print("\ndifferent pictures, all pairs".ljust(33) + "".join(f"{q:8.1%}" for q in quantiles))
    photo_pairs, scene_pairs = (between(embed(embedder, load(paths))) for paths in (photos, scenes))
    show(f"{len(photos)} photos", photo_pairs, quantiles)
    show(f"{len(scenes)} scenes", scene_pairs, quantiles)
    return min(float(np.quantile(photo_pairs, 0.001)), float(scene_pairs.min()))


def seconds(embedder: Embedder, videos: Sequence[Path]) -> None:
    """Prints how far frames a second apart are."""
    quantiles = (0.0, 0.1, 0.5, 0.9, 1.0)
    print("\nframes a second apart".ljust(33) + "".join(f"{q:8.0%}" for q in quantiles))
    for video in videos:
        embeddings = embed(embedder, frames(video, 1))
        show(video.stem, np.linalg.norm(np.diff(embeddings, axis=0), axis=1), quantiles)


def speed(embedder: Embedder, scene: Path) -> None:
    """Prints milliseconds per picture for decoding, preparing and embedding."""
    pixels = np.asarray(Image.open(scene).convert("RGB"))
    batch = np.stack([embedder.prepare(pixels)] * BATCH)
    jobs: dict[str, tuple[Callable[[], object], int]] = {
        "decode JPEG": (lambda: np.asarray(Image.open(scene).convert("RGB")), 1),
        "prepare": (lambda: embedder.prepare(pixels), 1),
        "embed": (lambda: embedder.embed(batch), BATCH),
    }
    print(f"\nms per picture of {pixels.shape[1]} x {pixels.shape[0]}")
    for name, (job, count) in jobs.items():
        job()
        started, spent = time.perf_counter(), time.process_time()
        for _ in range(20):
            job()
        wall, cpu = time.perf_counter() - started, time.process_time() - spent
        print(f"{name:32}{wall / 20 / count * 1e3:8.2f} wall{cpu / 20 / count * 1e3:8.2f} CPU")


def main() -> None:
    """Reads the command line, prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", choices=names("embedder"), default="gist")
    parser.add_argument("-e", dest="options", action="append", default=[], metavar="KEY=VALUE", help="of the embedder")
    parser.add_argument("--photos", type=int, default=190, help="photos that copies are made of")
    options = parser.parse_args()
    choice = PluginChoice(options.embedder, dict(option.split("=", 1) for option in options.options))
    embedder: Embedder = make("embedder", choice)
    photos, scenes = (
        sorted(options.data.glob("images/*/*")),
        sorted(options.data.glob("neardup/base_images/*")),
    )
    videos = sorted(options.data.glob("videos/*.mp4"))
    stills = [frame for video in videos for frame in frames(video, 0.2)]
    originals = [*load(photos[:: max(1, len(photos) // options.photos)]), *load(scenes), *stills]
    needed, allowed = copies(embedder, originals), others(embedder, photos, scenes)
    seconds(embedder, videos)
    speed(embedder, scenes[0])
    print(f"\nnear_duplicate between {needed:.3f} and {allowed:.3f}; now {embedder.near_duplicate}")


if __name__ == "__main__":
    main()
