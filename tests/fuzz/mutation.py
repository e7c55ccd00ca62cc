"""Valid files, damaged: a few edits that a parser is likely to stumble over, in any place.

Most edits are of bytes. In files of JSON and TOML, `swap` puts another value in the place of any that is there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import tomlkit

Kind: TypeAlias = Literal["flip", "insert", "replace", "delete", "repeat", "move", "truncate", "swap"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TOKENS = (
    b"\0", b"\n", b"\r", b"\t", b"\x1b[2J", b"\x7f", b"\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", "\u202e".encode(), "\u2028".encode(), "é".encode(),
    b",", b'"', b"'", b";", b":", b"=", b"{", b"}", b"[", b"]", b"[" * 3000, b'{"a":' * 3000, b"#", b"\\", b"\\ud800",
    b"/", b"../", b".", b"-", b"--", b"*a", b"&a", b"!!python/none", b"<<: ",
    b"0", b"-1", b"1", b"2.5", b"9" * 400, b"9" * 5000, b"9223372036854775808", b"1e999", b"-1e999", b"nan", b"NaN",
    b"inf", b"null", b"true", b"", b'""', b"[]", b"{}", b"2020-02-30", b"2020-01-01T00:00:00Z", b"0x10", b"1_0",
    b"0.0", b"embedding_1", b"filename", b"labels", b"masked", b"strategies", b"input", b"name", b"id", b"type",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    0, 1, -1, 2, 0.5, -0.0, 1e308, float("inf"), float("nan"), 2**31, 2**63, 10**400, True, False, None, "", "a",
    "a.jpg", "1", "nan", "\n", "\0", "\ud800", "é" * 1000, "../a", "/", "-1", "all", "auto", [], [0], [[]], [None],
    ["a", "a"], [{}], [1, "a"], {}, {"a": 0}, {"": 0}, {"a": {"b": []}}, {"name": "gist"}, {"id": 0, "name": "a"},
    [0.5, 0.5],
)  # fmt: skip
LONGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: of what `kind`, where (modulo the length), how long, and with which of TOKENS (or which byte)."""

    kind: Kind
    place: int
    length: int
    token: int


def edited(data: bytes, edits: Sequence[Edit]) -> bytes:
    """`data` after all `edits`, one after the other; at most LONGEST bytes, or as many as it had."""
    longest = max(LONGEST, len(data))
    for edit in edits:
        data = _edited(data, edit)[:longest]
    return data


def any_edits(rng: random.Random, most: int = 6) -> list[Edit]:
    """Up to `most` edits, mostly few; of some files all of them swap values."""
    kinds = ("swap",) if rng.random() < 0.3 else KINDS
    return [
        Edit(rng.choice(kinds), rng.randrange(1 << 20), rng.choice((1, 1, 2, 4, 16, 200)), rng.randrange(256))
        for _ in range(min(rng.randint(1, most), rng.randint(1, most)))
    ]


def _edited(data: bytes, edit: Edit) -> bytes:
    at = edit.place % (len(data) + 1)
    head, some, tail = data[:at], data[at : at + edit.length], data[at + edit.length :]
    token = TOKENS[edit.token % len(TOKENS)]
    if edit.kind == "swap":
        return _swapped(data, edit)
    if edit.kind == "flip":
        return head + bytes(byte ^ (1 << edit.token % 8) for byte in some[:1]) + some[1:] + tail
    if edit.kind == "insert":
        return head + token + some + tail
    if edit.kind == "replace":
        return head + token + tail
    if edit.kind == "delete":
        return head + tail
    if edit.kind == "repeat":
        return head + some * (2 + edit.token % 8) + tail
    if edit.kind == "move":
        target = (edit.place // 7 + edit.token) % (len(head + tail) + 1)
        rest = head + tail
        return rest[:target] + some + rest[target:]
    return head


def _swapped(data: bytes, edit: Edit) -> bytes:
    """`data` with another value somewhere, if it is a file that holds any."""
    value = VALUES[edit.token % len(VALUES)]
    for read, write in ((json.loads, json.dumps), (_toml, tomlkit.dumps)):
        try:
            content: Any = read(data)
            places = list(_places(content))
            if places:
                place, key = places[edit.place % len(places)]
                place[key] = value
            return write(content if places else value).encode()
        except Exception:  # no such file, or one that cannot hold the value
            continue
    return data


def _toml(data: bytes) -> Any:
    return tomlkit.parse(data.decode()).unwrap()


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in `content`, as what it is in and its key or index there."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)
