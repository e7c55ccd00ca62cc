"""`lightpool demo`."""
from __future__ import annotations
from pathlib import Path
from typing import Annotated
import typer
def demo(folder: Annotated[Path, typer.Argument(metavar="DIR")]) -> None:
    """Tell the story of a datapool on rendered videos."""
