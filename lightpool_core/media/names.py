"""Names on lines and on screens, whatever characters are in them.

A file may be called anything: with line breaks, it would be two lines of a list; with the control sequences of a
terminal or marks that turn the direction of writing, it would show as something else.
"""

from __future__ import annotations

import json
import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u3164\ufeff\uffa0"  # without width
    "\u2028-\u202e"  # line breaks and direction
    "\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def as_line(name: str) -> str:
    """`name` as one line of a list: as it is, or as a JSON string in quotes where that could be misread."""
    if name.startswith('"') or name != name.strip() or _UNSAFE.search(name):
        return json_shown(json.dumps(name, ensure_ascii=False))
    return name


def from_line(line: str) -> str:
    """The name on a line that `as_line` wrote, or a person."""
    line = line.strip()
    if line.startswith('"') and line.endswith('"'):
        try:
            return str(json.loads(line))
        except ValueError:  # a name in quotes that somebody wrote down as it is
            return line
    return line


def shown(text: str) -> str:
    """`text` for people: on one line, and with nothing that a terminal would obey or hide."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def json_shown(text: str) -> str:
    """The JSON `text` for a terminal: the same values, with escapes for what it would obey or hide."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)
