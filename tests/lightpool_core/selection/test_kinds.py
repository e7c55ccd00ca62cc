from __future__ import annotations

import numpy as np
import pytest

from lightpool_core.selection import kinds as module
from lightpool_core.selection.counts import Counts
from lightpool_core.selection.kinds import Kinds
from lightpool_core.selection.objectives import Balance


def balance(*classes: int) -> Balance:
    counts = Counts.of_names([str(number) for number in classes])
    c = len(counts.categories)
    return Balance(*counts.distinct(), np.ones(c) / c, np.zeros(c))


def test_candidates_are_of_one_kind_where_every_balance_sees_them_alike() -> None:
    kinds = Kinds.of([balance(0, 0, 1, 1, 0), balance(0, 1, 0, 0, 0)], 5)
    assert len(kinds.examples) == 3
    assert kinds.which[0] == kinds.which[4]
    assert kinds.which[2] == kinds.which[3]
    assert len(set(kinds.which[[0, 1, 2]])) == 3
    assert kinds.which[kinds.examples].tolist() == [0, 1, 2]
    assert not kinds.together


def test_without_balances_all_are_of_one_kind_and_of_too_many_kinds_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Kinds.of([], 4).which.tolist() == [0, 0, 0, 0]
    monkeypatch.setattr(module, "_MANY", 2)
    many = Kinds.of([balance(0, 1, 2)], 3)
    assert many.together
    assert many.which.tolist() == [0, 0, 0]


def test_of_each_kind_the_highest_lead_and_of_equals_the_first() -> None:
    kinds = Kinds.of([balance(0, 1, 0, 1, 0, 2, 0)], 7)
    values = np.array([1.0, 5, 1, 5, 0, -1])
    rows = np.array([0, 1, 2, 3, 4, 5])
    assert sorted(kinds.leading(rows, values, 3).tolist()) == [0, 1, 5]
    assert sorted(kinds.leading(rows, values, 6).tolist()) == [0, 1, 2, 3, 5]
    assert sorted(kinds.leading(rows, values, 0).tolist()) == [0, 1, 5]
    assert sorted(kinds.leading(rows[2:], values[2:], 1).tolist()) == [2, 3, 5]
