"""What is installed with lightpool: pinned for development, and under licences that go with ours."""

from __future__ import annotations

import re
from importlib.metadata import files, metadata
from pathlib import Path

import pytest
import tomlkit
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()
LOCK = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
DIRECT = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
GROUPS = PROJECT["dependency-groups"]
DEVELOPMENT = [Requirement(text) for group in GROUPS.values() for text in group if isinstance(text, str)]
COMPATIBLE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "HPND", "ISC", "MIT", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib",
}  # fmt: skip
BY_CLASSIFIER = {"Apache Software License": "Apache-2.0", "BSD License": "BSD-3-Clause", "MIT License": "MIT"}
FIRST_LINES = {"Apache License": "Apache-2.0", "MIT License": "MIT"}


def pins() -> dict[str, list[str]]:
    """Versions by name; several where they differ between versions of Python."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", LOCK):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def licences(name: str) -> set[str]:
    """What the installed package says: an expression, a name, classifiers, or the head of its licence file."""
    about = metadata(name)
    if said := about.get("License-Expression"):
        return set(re.split(r" (?:AND|OR) ", said.replace("(", "").replace(")", "")))
    if (said := about.get("License") or "") in COMPATIBLE:
        return {said}
    classifiers = [text.rpartition(" :: ")[2] for text in about.get_all("Classifier") or [] if "License ::" in text]
    if classifiers:
        return {BY_CLASSIFIER.get(text, text) for text in classifiers if text != "OSI Approved"}
    heads = [path.read_text().split("\n\n")[0].strip() for path in files(name) or [] if "LICENSE" in path.name.upper()]
    return {FIRST_LINES.get(head.splitlines()[0].strip(), head) for head in heads if head}


@pytest.mark.parametrize("wanted", DIRECT + DEVELOPMENT, ids=str)
def test_the_lock_file_pins_what_the_project_asks_for(wanted):
    found = pins().get(canonicalize_name(wanted.name), [])
    assert found, f"{wanted} is not in requirements-dev.txt; run tox -e lock"
    assert all(wanted.specifier.contains(version, prereleases=True) for version in found)


def test_everybody_who_develops_gets_every_group():
    included = {entry["include-group"] for entry in GROUPS["dev"]}
    assert included == GROUPS.keys() - {"dev"}


def test_the_lock_file_names_versions_and_hashes_and_no_place():
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in LOCK.splitlines() if not line.startswith("#")))
    assert all(re.match(r"[\w.-]+==", entry) and "--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"://|--index-url|--find-links|@ ", LOCK)


@pytest.mark.parametrize("name", [wanted.name for wanted in DIRECT])
def test_licences_of_what_is_needed_go_with_ours(name):
    said = licences(name)
    assert said
    assert said <= COMPATIBLE
