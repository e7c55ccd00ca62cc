"""Valid files, damaged: a few edits that a parser is likely to stumble over, in any place."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["flip", "insert", "replace", "delete", "repeat", "move", "truncate"]
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
    """Up to `most` edits."""
    return [
        Edit(rng.choice(KINDS), rng.randrange(1 << 20), rng.choice((1, 1, 2, 4, 16, 200)), rng.randrange(256))
        for _ in range(min(rng.randint(1, most), rng.randint(1, most)))  # few, mostly
    ]


def _edited(data: bytes, edit: Edit) -> bytes:
    at = edit.place % (len(data) + 1)
    head, some, tail = data[:at], data[at : at + edit.length], data[at + edit.length :]
    token = TOKENS[edit.token % len(TOKENS)]
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
