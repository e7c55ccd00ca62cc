"""What the files of a pool are called, while they are written and afterwards; all other files are somebody else's."""

from __future__ import annotations

import re

from lightpool_core.pool.delta_log import LOG, TABLES

RUN = r"\d{8}T\d{6}Z(?:-\d+)?"
"""How a run is called, after the time in UTC."""
_WHOLE = (
    r"datapool\.toml|datapool_latest\.csv|checkpoint_latest\.ckpt",
    r"\.latest\.json|\.lock[\w-]*|\.under-way|\.moving\.[^/]+",
    rf"({'|'.join(TABLES)})/({LOG}/.*|part-[\w.-]+\.parquet)",
    r"index/(index\.json|rows\.f32|(prefixes-\d+\.npy|cells-\d+\.npz|graph-\d+\.hnsw))",
    rf"runs/{RUN}/(report\.json|(decisions|pending)\.parquet|sequence_information\.json|candidates\.f32)",
    rf"runs/{RUN}/filenames/\w+\.txt",
    rf"runs/{RUN}/(journal|embeddings)/(journal\.json|part-\d+\.parquet)",
)
_UNFINISHED = (
    rf"runs/{RUN}/\.embeddings\..+",
    rf"({'|'.join(TABLES)})/([^/]+|{LOG}/[^/]+)#\d+|({'|'.join(TABLES)})/{LOG}/_commit_[^/]+",  # by the Delta library
)
_REPLACING = re.compile(r"\.\d+\.tmp$")
"""What is added to the name of a file that takes its place when it is complete."""
_WHOLE_PATH = re.compile("|".join(f"(?:{pattern})" for pattern in _WHOLE))
_UNFINISHED_PATH = re.compile("|".join(f"(?:{pattern})" for pattern in _UNFINISHED))


def is_part(name: str) -> bool:
    """True for the path, in a pool, of a file that belongs to it."""
    return bool(_WHOLE_PATH.fullmatch(name)) and not is_unfinished(name)


def is_unfinished(name: str) -> bool:
    """True for the path, in a pool, of a file that a command puts in place once it is complete."""
    whole = _REPLACING.sub("", name)
    return bool(_UNFINISHED_PATH.fullmatch(name)) or (whole != name and bool(_WHOLE_PATH.fullmatch(whole)))
