"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lightpool_core.settings import Overrides


def _embedder_names(incomplete: str) -> list[str]:
    from lightpool_core.registry import names

    return [name for name in names("embedder") if name.startswith(incomplete)]


def _sampler_names(incomplete: str) -> list[str]:
    from lightpool_core.registry import names

    return [name for name in names("sampler") if name.startswith(incomplete)]


def version_numbers(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Completions of a version number, from the pool that the command line names so far."""
    from lightpool_core.errors import LightpoolError
    from lightpool_core.pool.datapool import Datapool

    pool = context.params.get("pool")
    try:
        versions = Datapool.open(pool).history() if pool else []
    except LightpoolError:
        return []
    numbers = [(str(v.number), f"{v.event}, {v.samples} samples") for v in versions]
    return [entry for entry in numbers if entry[0].startswith(incomplete)]


Pool = Annotated[
    Path, typer.Option("--pool", "-p", metavar="DIR", envvar="LIGHTPOOL_POOL", help="Folder of the datapool.")
]
OptionalPool = Annotated[
    Path | None,
    typer.Option("--pool", "-p", metavar="DIR", envvar="LIGHTPOOL_POOL", help="Folder of the datapool."),
]
Inputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="PATH",
        help="Folder, image or video to look into; may be repeated.",
    ),
]
Filenames = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Text file that lists the paths to use, relative to the inputs, one per line.",
    ),
]
Embedder = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Plugin that turns pictures into vectors. [default: open-clip; for life]",
        autocompletion=_embedder_names,
    ),
]
EmbedderOptions = Annotated[
    list[str] | None,
    typer.Option("-e", metavar="KEY=VALUE", help="Option of the embedder; may be repeated."),
]
Sampler = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Plugin that chooses: a name, or path/to/file.py:ClassName. [default: diversity]",
        autocompletion=_sampler_names,
    ),
]
SamplerOptions = Annotated[
    list[str] | None,
    typer.Option("-s", metavar="KEY=VALUE", help="Option of the sampler; may be repeated."),
]
# Numbers are read by `overrides`, so that a wrong one is answered in one line like everything else.
NSamples = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Choose at most so many: a count (100), or a fraction of the candidates (0.1). -1 is off.",
    ),
]
MinDistance = Annotated[
    str | None,
    typer.Option(
        metavar="X",
        help="Keep no two samples closer than this distance of their embeddings, 0 to 2. -1 is off. "
        "[default: the embedder's near-duplicate distance, if --n-samples is off too]",
    ),
]
Fps = Annotated[
    str | None,
    typer.Option(
        metavar="FPS",
        help="Frames per second to take from videos, or 'all'. [default: 1]",
    ),
]
Seed = Annotated[
    str | None,
    typer.Option(metavar="N", help="Seed of samplers that draw lots. [default: 0]"),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        envvar="LIGHTPOOL_DEVICE",
        help="Where to compute: auto, cpu, cuda, cuda:N or mps. [default: auto]",
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(metavar="SECONDS", help="Give up a file that nothing comes of for so long. [default: 60]"),
]
MaxMegapixels = Annotated[
    str | None,
    typer.Option(metavar="N", help="Refuse pictures of more pixels. [default: 90]"),
]
KeepEmbeddings = Annotated[
    bool,
    typer.Option(
        "--keep-embeddings",
        help="Keep the embeddings of all candidates: whatever looks at them again needs no decoding.",
    ),
]
NoKeepHistory = Annotated[bool, typer.Option("--no-keep-history", help="Leave only the newest version restorable.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show neither progress nor summary.")]


def overrides(
    inputs: list[Path] | None = None,
    filenames: Path | None = None,
    plugins: tuple[str | None, list[str] | None, str | None, list[str] | None] = (None, None, None, None),
    stop: tuple[str | None, str | None] = (None, None),
    fps: str | None = None,
    seed: str | None = None,
    no_keep_history: bool = False,
    device: str | None = None,
    limits: tuple[str | None, str | None] = (None, None),
    keep_embeddings: bool = False,
) -> Overrides:
    """What a command line asks for. Raises SettingsError for a value that cannot be read."""
    from lightpool_core.settings import Overrides

    embedder, embedder_options, sampler, sampler_options = plugins
    n_samples, min_distance = stop
    timeout, max_megapixels = limits
    return Overrides(
        inputs=tuple(inputs) if inputs else None,
        filenames=filenames,
        embedder=embedder,
        embedder_options=_pairs("-e", embedder_options or []),
        sampler=sampler,
        sampler_options=_pairs("-s", sampler_options or []),
        n_samples=None if n_samples is None else _count_or_fraction(n_samples),
        min_distance=None if min_distance is None else _number("--min-distance", min_distance),
        fps=fps,
        seed=None if seed is None else _whole("--seed", seed),
        keep_history=False if no_keep_history else None,
        device=device,
        timeout=None if timeout is None else _number("--timeout", timeout),
        max_megapixels=None if max_megapixels is None else _number("--max-megapixels", max_megapixels),
        keep_embeddings=True if keep_embeddings else None,
    )


def whole_number(name: str, text: str) -> int:
    """`text` as a whole number. Raises SettingsError naming `name`."""
    return _whole(name, text)


def _count_or_fraction(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return _number("--n-samples", text)


def _whole(option: str, text: str) -> int:
    from lightpool_core.errors import SettingsError

    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{option} {text!r} is no whole number") from None


def _number(option: str, text: str) -> float:
    from lightpool_core.errors import SettingsError

    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{option} {text!r} is no number") from None


def _pairs(flag: str, texts: Iterable[str]) -> dict[str, str]:
    from lightpool_core.errors import SettingsError

    for text in texts:
        if "=" not in text:
            raise SettingsError(f"{flag} {text!r} should have the form key=value")
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}
