"""How fast is the selection, against its peers and against the limits of the machine?

    python tests/benchmarks/selection.py [--sizes full] [--only nearest] [--runs 3] [--device auto] [--json FILE]

Prints one table. Every row is a ratio measured in this one process: ours and the peers take turns, warmed up
on a small part first; the median of the runs counts, and a peer that takes over a minute runs once. All have
the same cores. Needs `lightly-mundig`, `apricot-select` and `scikit-learn` from PyPI for the rows that name them.
Exits with 1 where an answer of ours was wrong: where a pick was not the farthest, where the coverage radius is
not a peer's though the peer picked the farthest throughout, or where float64 decides otherwise on a rejection.

Not timed, for ours and theirs alike: making the data, reading it into memory where the row does not say
"on disk", and building an index; loading an index is timed. Files are in the page cache before the clock
starts. mundig is not charged for taking over the embeddings, nor apricot for compiling. mundig and the torch
greedy begin with our first pick.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import re
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from selection_cases import APRICOT, GREEDY, HNSWLIB, SKLEARN, UNDECIDED, Memory, Nearest, Picking
from selection_combining import Combining
from selection_contest import DISTURBED, Row, Settings

from lightpool_core.device import torch_device

Case = Picking | Nearest | Memory | Combining

SIZES: dict[str, tuple[Case, ...]] = {
    "quick": (
        Picking("clustered", 5_000, 64, 200),
        Picking("video", 5_000, 64, 200),
        Picking("duplicates", 3_000, 64, 300),
        Picking("equal", 2_000, 32, 50, (GREEDY,)),
        Picking("clustered", 1_000, 64, 50, (APRICOT,)),
        Combining("clustered", 5_000, 64, 200),
        Nearest("video", 5_000, 64, 1_000, (UNDECIDED, SKLEARN, HNSWLIB)),
        Nearest("duplicates first", 5_000, 64, 1_000, (HNSWLIB,)),
        Memory("clustered", 20_000, 64, 100),
    ),
    "medium": (
        Picking("clustered", 10_000, 768, 1_000),
        Picking("video", 20_000, 512, 2_000),
        Picking("clustered", 20_000, 32, 10_000),
        Picking("duplicates", 20_000, 512, 1_000),
        Picking("equal", 20_000, 512, 1_000, (GREEDY,)),
        Picking("far", 10_000, 512, 1_000),
        Picking("clustered", 3_000, 512, 300, (GREEDY, APRICOT)),
        Combining("clustered", 20_000, 512, 2_000),
        Combining("video", 20_000, 512, 2_000),
        Nearest("video", 50_000, 512, 2_000, (UNDECIDED, SKLEARN, HNSWLIB)),
        Nearest("duplicates first", 50_000, 512, 2_000, (HNSWLIB,)),
        Memory("clustered", 100_000, 512, 1_000),
    ),
    "full": (
        Picking("clustered", 10_000, 768, 100),
        Picking("clustered", 10_000, 768, 2_000),
        Picking("clustered", 100_000, 512, 5_000),
        Picking("video", 100_000, 512, 5_000),
        Picking("clustered", 100_000, 32, 50_000),
        Picking("video", 1_000_000, 32, 1_000),
        Picking("video", 1_000_000, 512, 100, (GREEDY,), on_disk=True),
        Picking("clustered", 1_000_000, 512, 2_000, (), on_disk=True),
        Picking("duplicates", 100_000, 512, 2_000),
        Picking("equal", 100_000, 512, 1_000, (GREEDY,)),
        Picking("far", 50_000, 512, 2_000),
        Picking("clustered", 5_000, 512, 500, (GREEDY, APRICOT)),
        Combining("clustered", 100_000, 512, 5_000),
        Combining("video", 100_000, 512, 5_000),
        Nearest("video", 1_000_000, 512, 10_000, (UNDECIDED,)),
        Nearest("duplicates first", 200_000, 512, 10_000, (HNSWLIB,)),
        Nearest("thinned", 200_000, 512, 10_000, (HNSWLIB,)),
        Nearest("video", 50_000, 512, 10_000, (SKLEARN, HNSWLIB)),
        Memory("clustered", 1_000_000, 512, 2_000),
        Memory("video", 1_000_000, 512, 2_000),
    ),
}
COLUMNS = (
    "case", "ours", "against", "theirs", "ratio", "lowest to highest", "runs", "ours / bare product",
    "ours / one pass", "others", "check",
)  # fmt: skip


LEGEND = """\
ratio: theirs / ours, of the runs the median; above 1 ours is the better one. runs: ours : theirs. bare product: all
candidates times all picks (or all queries times the pool) in float32, at the speed of the machine; in brackets, of
the products that ours says it did. one pass: reading the candidates (or the pool) once from memory. others: cores
that other processes took meanwhile, (!) where the times are therefore not to be relied on."""


def header(device: str) -> str:
    """Machine, versions and date."""
    packages = "torch numpy hnswlib lightly-mundig apricot-select scikit-learn".split()
    where = device
    if device.startswith("cuda"):
        where += f" ({torch.cuda.get_device_name(device)})"
    machine = f"{_processor()}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    lines = [
        f"{datetime.date.today()}; {machine}; products on {where}",
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {_version(name)}" for name in packages),
        LEGEND,
    ]
    return "\n\n".join(lines)


def line(row: Row) -> str:
    """`row` in Markdown."""
    product = f"{row.product:.2f}" if row.product else ""
    product += f" ({row.own_product:.2f})" if row.own_product else ""
    cells = (
        row.case, _amount(row.ours, row.unit), row.against, _amount(row.theirs, row.unit), f"**{row.ratio:.2f}**",
        f"{row.least:.2f} to {row.most:.2f}", row.runs, product, f"{row.passed:.1f}" if row.passed else "",
        "" if row.others is None else f"{row.others:.2f}" + " (!)" * (row.others > DISTURBED),
        ("ok: " if row.ok else "FAILED: ") + row.check,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def measure(cases: list[Case], settings: Settings) -> list[Row]:
    """The rows of all cases, printed as they come."""
    print("\n| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    rows = []
    for number, case in enumerate(cases, 1):
        print(f"[{number}/{len(cases)}] {case}", file=sys.stderr)
        for row in case.rows(settings):
            print(line(row), flush=True)
            rows.append(row)
    return rows


def main() -> None:
    """Reads the command line, prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", choices=SIZES, default="quick", help="quick: a minute; full: an hour")
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases that this regular expression is found in")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the rows, to compute with")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep data and indexes here, and use what is there")
    options = parser.parse_args()
    torch.set_num_threads(_cores())
    device = str(torch_device(options.device))
    cases = [case for case in SIZES[options.sizes] if re.search(options.only, str(case))]
    top = header(device)
    print(top)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        rows = measure(cases, Settings(work, options.runs, device))
    if options.json:
        told = {"header": top, "rows": [dataclasses.asdict(row) for row in rows]}
        options.json.write_text(json.dumps(told, indent=1))
    sys.exit(not all(row.ok for row in rows))


def _amount(value: float, unit: str) -> str:
    return f"{value * 1e3:.1f} ms" if unit == "s" and value < 1 else f"{value:.2f} {unit}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = re.search(r"model name\s*: (.*)", text)
    return found[1] if found else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    main()
