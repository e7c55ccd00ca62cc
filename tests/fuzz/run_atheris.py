"""Long passes with atheris (libFuzzer), guided by what of our code each input reaches.

    python tests/fuzz/run_atheris.py                  every target, one after the other, in a process of its own
    python tests/fuzz/run_atheris.py png settings     some, by any part of their names
    FUZZ_SECONDS=600 python tests/fuzz/run_atheris.py how long each takes (30 seconds)

Prints how many inputs each target was given, and keeps those that broke one in `fuzz-found/`: once the reader is
mended, a small one belongs into `tests/fuzz/inputs/`. Exit 1 if any was found.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
FOUND = ROOT / "fuzz-found"
SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))
MEGABYTES = 3000
"""Of a whole process, torch and Arrow included."""


def main(wanted: list[str]) -> int:
    if find_spec("atheris") is None:
        print("atheris: NOT DONE, it is for Linux and Python 3.11 to 3.13")
        return 0
    sys.path.insert(0, str(ROOT))
    from tests.fuzz.targets import TARGETS

    names = [target.name for target in TARGETS if not wanted or any(part in target.name for part in wanted)]
    return max([_fuzz(name) for name in names], default=2)


def _fuzz(name: str) -> int:
    """Run one target in a process of its own, which a crash inside a library ends."""
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    tried = re.findall(r"(?m)^(?:stat::number_of_executed_units:\s*|#)(\d+)", done.stderr)
    outcome = "FOUND" if done.returncode else "nothing found"
    print(f"{name:24} {int(tried[-1]) if tried else 0:9,} inputs  {outcome}", flush=True)
    if done.returncode:
        print(done.stderr[-3000:], flush=True)
    return int(done.returncode != 0)


def _one(name: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["lightpool_core", "labelformat", "tomlkit", "yaml"]):
        from tests.fuzz.mutation import LONGEST, any_edits, edited
        from tests.fuzz.property import SECONDS as PATIENCE
        from tests.fuzz.property import check
        from tests.fuzz.targets import TARGETS

    target = next(target for target in TARGETS if target.name == name)
    FOUND.mkdir(exist_ok=True)
    with TemporaryDirectory() as place:
        corpus, folder = Path(place) / "corpus", Path(place) / "folder"
        corpus.mkdir()
        for number, seed in enumerate(target.seeds()):
            (corpus / str(number)).write_bytes(seed)

        def attempt(data: bytes) -> None:
            folder.mkdir()
            try:
                check(target, data, folder)
            finally:
                shutil.rmtree(folder)

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            rng = random.Random(seed)
            if rng.random() < 0.5:
                return bytes(atheris.Mutate(data, most))
            return edited(data, any_edits(rng))[:most]

        options = [f"-max_total_time={SECONDS}", f"-timeout={2 * PATIENCE}", f"-rss_limit_mb={MEGABYTES}",
                   f"-max_len={LONGEST}", f"-artifact_prefix={FOUND}/{name}-", "-print_final_stats=1"]  # fmt: skip
        atheris.Setup([sys.argv[0], *options, str(corpus)], attempt, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        sys.path.insert(0, str(ROOT))
        _one(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:]))
