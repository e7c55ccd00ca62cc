"""`lightpool info`."""

from __future__ import annotations

from lightpool_cli import console, options

_FILES = ("metadata", "predictions", "scores")


def info(pool: options.Pool, json: options.Json = False) -> None:
    """Show what a datapool holds and how it grows.

    \b
    Example:
      lightpool info --pool my_datapool
    """
    from lightpool_core import Datapool, Settings
    from lightpool_core.opening import described

    datapool, settings = Datapool.open(pool), Settings.read(pool)
    facts = {
        "pool": str(datapool.path),
        "version": datapool.version.number,
        "versions": len(datapool.history()),
        "samples": len(datapool),
        "sources": len(datapool.ledger),
        "dimension": datapool.dim,
        "embedder": described(settings.embedder),
        "fingerprint": datapool.version.fingerprint,
        "sampler": described(settings.sampler),
        "n_samples": settings.n_samples,
        "min_distance": settings.min_distance,
        "min_seconds": settings.min_seconds,
        "max_per": dict(settings.max_per),
        "sequence_length": settings.sequence_length,
        "fps": "all" if settings.fps is None else settings.fps,
        "inputs": [str(path) for path in settings.inputs],
        **{name: str(path) if (path := getattr(settings, name)) else None for name in _FILES},
        "keep_history": settings.keep_history,
        "labels": datapool.label_names,
    }
    if json:
        console.json_result(facts)
        return
    facts["max_per"] = ", ".join(f"{key} {most}" for key, most in settings.max_per.items()) or None
    labels = list(datapool.label_names.items())
    more = [f"and {len(labels) - 20} more (--json shows all)"] if len(labels) > 20 else []
    facts["labels"] = [*(f"{n} = {name or '(no folder)'}" for name, n in labels[:20]), *more]
    console.pairs((name, "off" if value is None else value) for name, value in facts.items())
