from __future__ import annotations

import math
from typing import Any

import pytest

from lightpool_core.errors import SettingsError
from lightpool_core.selection.stop import Stop


def test_minus_one_is_off() -> None:
    assert Stop.of(-1, -1, -1, {"video": -1}) == Stop()
    assert Stop.of(-1, -1, -1, {"video": -1, "folder": 3}) == Stop(max_per={"folder": 3})


def test_limits_are_kept_as_they_are() -> None:
    stop = Stop.of(None, None, 2.5, {"video": 3, "weather.kind": 1})
    assert (stop.min_seconds, stop.max_per) == (2.5, {"video": 3, "weather.kind": 1})
    assert stop.count(10) == 10


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"min_seconds": -2.0}, "min_seconds -2.0 is no number of seconds from 0 up; -1 is off"),
        ({"min_seconds": math.nan}, "min_seconds nan is no number of seconds from 0 up; -1 is off"),
        ({"min_seconds": math.inf}, "min_seconds inf is no number of seconds from 0 up; -1 is off"),
        ({"max_per": {"video": 0}}, "max_per video 0 is no whole number from 1 up; -1 is off"),
        ({"max_per": {"video": 2, "folder": -3}}, "max_per folder -3 is no whole number from 1 up; -1 is off"),
        ({"max_per": {"label": 1.5}}, "max_per label 1.5 is no whole number from 1 up; -1 is off"),
        ({"max_per": {"label": True}}, "max_per label True is no whole number from 1 up; -1 is off"),
        ({"max_per": {"label": "3"}}, "max_per label 3 is no whole number from 1 up; -1 is off"),
        ({"max_per": {"": 3}}, "max_per has a limit for no key; name video, folder, label or a metadata key"),
    ],
)
def test_a_limit_that_is_none_is_told_in_one_line(limits: Any, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Stop(**limits)
    assert str(caught.value) == said
