"""Would `-e compile=true` pay on this machine's CPU?

    python tests/benchmarks/compiled.py [--models mobilenetv2_100,resnet50,…] [--runs 8]

Random weights, which compute as fast as others; full batches, all lanes at work, float32, as in a run. Plain and
compiled take turns; medians count. Prints pictures per second of both, the ratio, what compiling took with none of
them compiled before (headers, which torch precompiles once, are kept elsewhere), and after
how many pictures that is paid back.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import open_clip
import timm
import torch

from lightpool_core.arrays import Array
from lightpool_core.embedding.tower import Tower, batch_size

MODELS = "mobilenetv2_100,efficientnet_b0,resnet50,convnext_tiny,vit_small_patch16_224,ViT-B-32"
SIDE = 224


def network(name: str) -> torch.nn.Module:
    """The image tower of an OpenCLIP model, or a timm network without its classifier."""
    if name in open_clip.list_models():
        tower: torch.nn.Module = open_clip.create_model(name).visual
        return tower
    created: torch.nn.Module = timm.create_model(name, num_classes=0)
    return created


def seconds(tower: Tower, batch: Array, lanes: ThreadPoolExecutor) -> float:
    """That one batch in each lane takes."""
    started = time.perf_counter()
    list(lanes.map(tower.embed, [batch] * len(tower.modules)))
    return time.perf_counter() - started


def row(name: str, runs: int) -> str:
    """One line of the table."""
    module, half = network(name), (0.5, 0.5, 0.5)
    plain, fast = (
        Tower.on("cpu", "fp32", module, half, half, (SIDE, SIDE), compiled=compiled) for compiled in (False, True)
    )
    batch = np.random.default_rng(0).integers(0, 256, (batch_size("cpu"), SIDE, SIDE, 3), dtype=np.uint8)
    with ThreadPoolExecutor(len(plain.modules)) as lanes:
        seconds(plain, batch, lanes)
        started = time.perf_counter()
        fast.get_ready((SIDE, SIDE))
        compiling = time.perf_counter() - started
        turns = [(seconds(plain, batch, lanes), seconds(fast, batch, lanes)) for _ in range(runs)]
    n = len(batch) * len(plain.modules)
    before, after = (n / statistics.median(times) for times in zip(*turns, strict=True))
    gain = 1 / before - 1 / after
    back = f"{compiling / gain:,.0f}" if gain > 0 else "never"
    return f"{name:24}{before:10.1f}{after:10.1f}{after / before:8.2f}{compiling:10.0f} s{back:>12}"


def main() -> None:
    """Reads the command line, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--runs", type=int, default=8)
    options = parser.parse_args()
    print("model".ljust(24) + "     plain  compiled   ratio   compiling   paid back", flush=True)
    with tempfile.TemporaryDirectory() as empty:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
        for name in options.models.split(","):
            print(row(name, options.runs), flush=True)


if __name__ == "__main__":
    main()
