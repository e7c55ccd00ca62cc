"""How fast do pictures become embeddings, against the limits of the machine and against peers?

    python tests/benchmarks/pipeline.py DATA [--only gist] [--pictures 3000] [--runs 3]

DATA holds `images/` and `videos/`. Prints one table. The limit of the pipeline is the sum of the bare costs of its
stages over the cores: what decoding, preparing and embedding take when each is all that the machine does, on all
cores at once, measured in turns with the runs; medians count. Pictures are used again under other names until there
are as many as asked for. open-clip has random weights: they are as fast as others.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pipeline_memory
import pipeline_peers as peers
from pipeline_stages import STAGES, core_seconds

from lightpool_core.embedding.embedder import Embedder, precision_of
from lightpool_core.embedding.journal import Journal, Maker
from lightpool_core.embedding.lanes import n_cores
from lightpool_core.embedding.pipeline import embed_sources
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.reading import Reading
from lightpool_core.media.source import Source
from lightpool_core.media.video import VideoStream
from lightpool_core.registry import make
from lightpool_core.settings import PluginChoice

SECONDS = 8.0
"""Of each measurement of a bare stage."""
_MODEL = "ViT-B-32"


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    data: Path
    pictures: int
    runs: int


def images(name: str, choice: PluginChoice, options: Options) -> Iterator[str]:
    """The whole pipeline against the sum of its stages."""
    folder = options.data / "images"
    n = options.pictures if name == "gist" else max(64, options.pictures // 12)
    embedder: Embedder = make("embedder", choice)
    assert embedder.fingerprint  # the model is loaded
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    rates, ratios = [], []
    _rate(embedder, _sources(folder, 64))
    for _ in range(options.runs):
        for stage in STAGES:
            stages[stage].append(core_seconds(stage, choice, folder, SECONDS))
        rates.append(_rate(embedder, _sources(folder, n)))
        ratios.append(rates[-1] * sum(values[-1] for values in stages.values()) / n_cores())
    cost = {stage: statistics.median(values) for stage, values in stages.items()}
    rate, ratio = statistics.median(rates), statistics.median(ratios)
    said = ", ".join(f"{stage} {1000 * seconds:.2f}" for stage, seconds in cost.items())
    yield _row(
        f"{name}, {n} photos", f"{rate:.1f} pictures/s", "sum of the stages", f"{rate / ratio:.1f}", ratio,
        f"{min(ratios):.2f} to {max(ratios):.2f}; core ms: {said}; {precision_of(embedder)}",
    )  # fmt: skip
    alone = n_cores() / cost["embed"]
    yield _row("", "", "embedding alone", f"{alone:.1f}", rate / alone)
    if name == "gist":
        whole = core_seconds("decode whole", choice, _large(options), SECONDS)
        ours = cost["prepare"] + cost["embed"]
        large = "decoding a 640×480 JPEG"
        yield _row("gist, prepare and embed", f"{1000 * ours:.2f} core ms", large, f"{1000 * whole:.2f}", whole / ours)
    else:
        yield from _against_loops(rate, folder, n, options.runs)


def videos(options: Options) -> Iterator[str]:
    """Every frame of a video in Python, with index and time, against ffmpeg that decodes and scales alone."""
    for file in sorted((options.data / "videos").iterdir()):
        if file.suffix == ".mp4":
            for short_side in (128, 224):
                yield _video(file, short_side, options.runs)


def memory(_: Options) -> Iterator[str]:
    """Peak memory of all processes together, for ever more copies of a video."""
    yield from pipeline_memory.rows((10, 100, 1000))


def _video(file: Path, short_side: int, runs: int) -> str:
    ours, alone, n = [], [], 0
    for _ in range(2 * runs + 1):
        alone.append(peers.ffmpeg_alone(file, short_side))
        began = time.perf_counter()
        with VideoStream(file, fps=None, short_side=short_side) as stream:
            n = sum(1 for _ in stream)
        ours.append(time.perf_counter() - began)
    ratio = statistics.median(theirs / mine for theirs, mine in zip(alone, ours, strict=True))
    rate, limit = n / statistics.median(ours), n / statistics.median(alone)
    what = f"{file.stem}, {n} frames to {short_side} px"
    return _row(what, f"{rate:.0f} frames/s", "ffmpeg -f null", f"{limit:.0f}", ratio)


def _against_loops(rate: float, folder: Path, n: int, runs: int) -> Iterator[str]:
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(_MODEL)
    model.eval()
    files = [source.file for source in _sources(folder, n)]
    for name, loop in (("plain open_clip loop", peers.plain_loop), ("DataLoader with workers", peers.data_loader)):
        theirs = statistics.median(loop(model, preprocess, files) for _ in range(runs))
        yield _row("", "", f"{name}, float32", f"{theirs:.1f}", rate / theirs)


def _row(what: str, ours: str, against: str, theirs: str, ratio: float, more: str = "") -> str:
    return f"| {what} | {ours} | {against} | {theirs} | **{ratio:.2f}** | {more} |"


def _rate(embedder: Embedder, sources: list[Source]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        maker = Maker(embedder.fingerprint, precision_of(embedder), embedder.dim)
        journal = Journal(Path(folder) / "journal", maker)
        began = time.perf_counter()
        embed_sources({source.name: source for source in sources}, embedder, journal, reading=Reading())
        return len(sources) / (time.perf_counter() - began)


def _sources(folder: Path, n: int) -> list[Source]:
    found = list_sources([folder])
    return [dataclasses.replace(found[i % len(found)], name=f"{i:07}") for i in range(n)]


def _large(options: Options) -> Path:
    """A folder with photos of 640 × 480."""
    from PIL import Image

    folder = Path(tempfile.mkdtemp(prefix="lightpool-"))
    for number, source in enumerate(_sources(options.data / "images", 64)):
        with Image.open(source.file) as image:
            image.convert("RGB").resize((640, 480), Image.Resampling.LANCZOS).save(folder / f"{number}.jpg", quality=90)
    return folder


def _random_weights() -> Path:
    import open_clip
    import torch

    torch.manual_seed(0)
    file = Path(tempfile.mkdtemp(prefix="lightpool-")) / "weights.pt"
    torch.save(open_clip.create_model(_MODEL).state_dict(), file)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="", help="gist, open-clip, video or memory")
    parser.add_argument("--pictures", type=int, default=3000, help="for gist; open-clip gets a twelfth")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    options = Options(given.data, given.pictures, given.runs)
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "gist": lambda: images("gist", PluginChoice("gist"), options),
        "open-clip": lambda: images(
            "open-clip", PluginChoice("open-clip", {"model": _MODEL, "pretrained": str(_random_weights())}), options
        ),
        "video": lambda: videos(options),
        "memory": lambda: memory(options),
    }
    print(f"{n_cores()} cores\n\n| what | lightpool | against | theirs | ratio | |\n|---|---|---|---|---|---|")
    for name, rows in parts.items():
        if given.only in name:
            for row in rows():
                print(row, flush=True)


if __name__ == "__main__":
    main()
