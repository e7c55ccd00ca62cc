"""How fast do pictures become embeddings, against the limits of the machine and against peers?

    python tests/benchmarks/pipeline.py DATA [--only gist] [--rounds 60]

DATA holds `images/` and `videos/`. Prints one table. The limit of the pipeline is the sum of the bare costs of its
stages over the cores: what decoding, preparing and embedding take when each is all that the machine does, on all
cores at once. The pipeline, its stages and its peers take turns of a second, so that whatever else the machine does
meets all of them (see `turns.py`). The pipeline is measured while it is at work: without its start and its end.
open-clip has random weights: they are as fast as others.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pipeline_memory
import pipeline_peers as peers
import pipeline_stages
import pipeline_videos
from turns import Contender, take_turns

from lightpool_core.embedding.embedder import Embedder, precision_of
from lightpool_core.embedding.lanes import n_cores
from lightpool_core.media.inputs import list_sources
from lightpool_core.registry import make
from lightpool_core.settings import PluginChoice

_PARTS = 5
"""Into which the rounds are divided, to tell how sure a ratio is."""
_MODEL = "ViT-B-32"
_LARGE = 12
"""Every how many-th photo is made large."""


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    data: Path
    rounds: int


def images(choice: PluginChoice, options: Options) -> Iterator[str]:
    """The whole pipeline against the sum of its stages, and against loops as others write them."""
    embedder: Embedder = make("embedder", choice)
    folder = options.data / "images"
    small = {name: _contender(name, choice, folder) for name in ("lightpool", *pipeline_stages.STAGES)}
    if choice.name == "gist":
        more = {"decode whole": _contender("decode whole", choice, _large(options))}
    else:
        more = {name: _contender(name, choice, folder) for name in peers.PEERS}
    take_turns([*small.values(), *more.values()], rounds=options.rounds)
    rate = small["lightpool"].rate()
    cost = {name: n_cores() / small[name].rate() for name in pipeline_stages.STAGES}
    ratios = [_ratio(small, part) for part in _parts(options.rounds)]
    said = ", ".join(f"{stage} {1000 * seconds:.2f}" for stage, seconds in cost.items())
    yield _row(
        choice.name, f"{rate:.1f} pictures/s", "sum of the stages", f"{n_cores() / sum(cost.values()):.1f}",
        _ratio(small, slice(None)),
        f"{min(ratios):.2f} to {max(ratios):.2f}; core ms: {said}; {precision_of(embedder)}",
    )  # fmt: skip
    alone = n_cores() / cost["embed"]
    yield _row("", "", "embedding alone", f"{alone:.1f}", rate / alone)
    for name, contender in more.items():
        theirs = contender.rate()
        if name == "decode whole":
            ours, whole = cost["prepare"] + cost["embed"], n_cores() / theirs
            large = "decoding a 640×480 JPEG"
            yield _row(
                "gist, prepare and embed", f"{1000 * ours:.2f} core ms", large, f"{1000 * whole:.2f}", whole / ours
            )
        else:
            yield _row("", "", f"{name}, float32", f"{theirs:.1f}", rate / theirs)


def videos(options: Options) -> Iterator[str]:
    """Every frame in Python, with index and time, against ffmpeg that decodes and scales alone."""
    for file in sorted((options.data / "videos").glob("*.mp4")):
        for short_side in (128, 224):
            ours, alone = pipeline_videos.rates(file, short_side, options.rounds)
            yield _row(
                f"{file.stem} to {short_side} px", f"{ours:.0f} frames/s", "ffmpeg", f"{alone:.0f}", ours / alone
            )


def memory(_: Options) -> Iterator[str]:
    """Peak memory of all processes together, for ever more copies of a video."""
    yield from pipeline_memory.rows((10, 100, 1000))


def _contender(what: str, choice: PluginChoice, folder: Path) -> Contender:
    chosen = json.dumps([choice.name, dict(choice.options)])
    alone = what == "lightpool" or what in peers.PEERS
    return Contender([pipeline_stages.__file__, what, chosen, str(folder)], 1 if alone else n_cores())


def _ratio(contenders: dict[str, Contender], rounds: slice) -> float:
    """Of the rate of the pipeline to the limit."""
    spent = sum(1 / contenders[name].rate(rounds) for name in pipeline_stages.STAGES)
    return contenders["lightpool"].rate(rounds) * spent


def _parts(rounds: int) -> list[slice]:
    each = max(1, rounds // _PARTS)
    return [slice(start, start + each) for start in range(0, rounds - each + 1, each)]


def _row(what: str, ours: str, against: str, theirs: str, ratio: float, more: str = "") -> str:
    return f"| {what} | {ours} | {against} | {theirs} | **{ratio:.2f}** | {more} |"


def _large(options: Options) -> Path:
    """A folder with photos of 640 × 480."""
    from PIL import Image

    folder = Path(tempfile.mkdtemp(prefix="lightpool-"))
    for number, source in enumerate(list_sources([options.data / "images"])[::_LARGE]):
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
    parser.add_argument("--rounds", type=int, default=60, help="in which each has a second")
    given = parser.parse_args()
    options = Options(given.data, given.rounds)
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "gist": lambda: images(PluginChoice("gist"), options),
        "open-clip": lambda: images(
            PluginChoice("open-clip", {"model": _MODEL, "pretrained": str(_random_weights())}), options
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
