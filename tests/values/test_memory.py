"""Tables of what is made once: while one thread makes an entry, another one may."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest

from typedfilter._values.memory import Attached, InternTable, PerObject


class Entry:
    def __init__(self, key: Any) -> None:
        self.key = key


def function() -> None: ...


def test_an_entry_that_another_thread_was_quicker_to_add_is_the_one():
    table: InternTable[Entry] = InternTable()
    quicker: list[Entry] = []

    def make() -> Entry:
        quicker.append(table.get_or_add("key", lambda: Entry("key")))
        return Entry("key")

    assert table.get_or_add("key", make) is quicker[0]
    assert len(table) == 1


@pytest.mark.parametrize(
    "table_of", [PerObject, lambda make: Attached("__test_attached__", make)], ids=["per object", "attached"]
)
def test_what_another_thread_was_quicker_to_keep_for_an_object_is_the_one(table_of: Callable[..., Any]):
    quicker: list[list[int]] = []

    def make() -> list[int]:
        if not quicker:
            quicker.append([])
            quicker[0] = table.of(function)
        return []

    table = table_of(make)
    assert table.of(function) is table.of(function)
    assert table.of(function) is quicker[0]


def test_an_object_that_has_the_id_of_one_that_is_gone_gets_something_new():
    table: PerObject[list[int]] = PerObject(list)
    one, two = Entry(1), Entry(2)
    kept = table.of(one)
    table._kept[id(two)] = (weakref.ref(one), kept)  # as if `two` were where `one` has been
    assert table.of(two) is not kept
    assert table.of(two) is table.of(two)
