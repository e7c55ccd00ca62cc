from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightpool_core.media.names import as_line, from_line, json_shown, shown

PLAIN = [
    "a.jpg",
    "sub/été-視頻.mp4",
    "two  words.png",
    "-i.mp4",
    "a,b;c=[d].png",
    'it\'s "quoted".png',
    "a\\b.png",
    "👍.png",
]
SPECIAL = {
    "two\nlines.png": '"two\\nlines.png"',
    "\x1b[2Jclear.png": '"\\u001b[2Jclear.png"',
    "gnp.\u202ejpg": '"gnp.\\u202ejpg"',
    " led by a space.png": '" led by a space.png"',
    '"quoted"': '"\\"quoted\\""',
    "next\x85line\u2028.png": '"next\\u0085line\\u2028.png"',
}
TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("\n\r\x1b\x7f\x9b\u200b\u202e\u2066\ufeff\"\\ '"))


@pytest.mark.parametrize("name", PLAIN)
def test_an_ordinary_name_is_its_own_line(name: str) -> None:
    assert as_line(name) == shown(name) == name


@pytest.mark.parametrize("name", SPECIAL)
def test_a_name_that_could_be_misread_is_a_json_string(name: str) -> None:
    assert as_line(name) == SPECIAL[name]
    assert json.loads(as_line(name)) == name


@given(TEXTS.filter(bool))
def test_every_name_is_one_line_that_is_read_back(name: str) -> None:
    line = as_line(name)
    assert line.splitlines() == [line]
    assert from_line(f"{line}\r") == name


def test_what_a_person_quoted_in_another_way_is_taken_as_it_is() -> None:
    assert from_line('  "a\\d.png" ') == '"a\\d.png"'


@given(TEXTS)
def test_what_is_shown_is_printable_and_on_one_line(text: str) -> None:
    assert not set(shown(text)) & set("\n\r\x1b\x7f\x9b\x85\u200b\u2028\u202e\u2066\ufeff")
    assert shown(shown(text)) == shown(text)


@given(st.dictionaries(TEXTS, TEXTS | st.integers()))
def test_json_for_a_terminal_has_the_same_values(value: dict[str, object]) -> None:
    text = json_shown(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(text) == value
    assert not set(text) & set("\x1b\x7f\x9b\u200b\u202e\u2066\ufeff")


def test_a_path_that_is_not_unicode_can_be_printed() -> None:
    assert shown("bad-\udcff").encode() == b"bad-\\udcff"
