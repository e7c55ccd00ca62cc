"""Would torch.compile pay on this machine's CPU?

    python tests/benchmarks/compiled.py [--models ViT-B-32,mobilenetv2_100] [--batch 32] [--runs 8]

Random weights, which compute as fast as others; channels last, float32, inference mode, as embedders have it.
Eager and compiled take turns; medians count. Prints pictures per second of both, the ratio, what compiling took,
and after how many pictures that is paid back.
"""

from __future__ import annotations

import argparse
import statistics
import time

import open_clip
import timm
import torch


def network(name: str) -> torch.nn.Module:
    """The image tower of an OpenCLIP model, or a timm network without its classifier."""
    if name in open_clip.list_models():
        tower: torch.nn.Module = open_clip.create_model(name).visual
    else:
        tower = timm.create_model(name, num_classes=0)
    return tower.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@torch.inference_mode()
def seconds(module: torch.nn.Module, batch: torch.Tensor) -> float:
    """Of one batch."""
    started = time.perf_counter()
    module(batch)
    return time.perf_counter() - started


def row(name: str, size: int, runs: int) -> str:
    """One line of the table."""
    eager = network(name)
    batch = torch.randn(size, 3, 224, 224).to(memory_format=torch.channels_last)
    fast = torch.compile(eager)
    seconds(eager, batch)
    first = seconds(fast, batch)
    seconds(fast, batch)
    turns = [(seconds(eager, batch), seconds(fast, batch)) for _ in range(runs)]
    plain, compiled = (size / statistics.median(times) for times in zip(*turns, strict=True))
    compiling = first - size / compiled
    gain = 1 / plain - 1 / compiled
    back = f"{compiling / gain:,.0f}" if gain > 0 else "never"
    return f"{name:20}{plain:10.1f}{compiled:10.1f}{compiled / plain:8.2f}{compiling:10.0f} s{back:>12}"


def main() -> None:
    """Reads the command line, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default="ViT-B-32,mobilenetv2_100")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=8)
    options = parser.parse_args()
    print("model".ljust(20) + "     eager  compiled   ratio   compiling   paid back")
    for name in options.models.split(","):
        print(row(name, options.batch, options.runs))


if __name__ == "__main__":
    main()
