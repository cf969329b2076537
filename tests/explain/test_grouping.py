"""Blocks that repeat are told once, a terminal's width is kept, and a notebook gets tables."""

from __future__ import annotations

import os
import sys
from typing import Any

import jax.numpy as jnp
import pytest

from typedfilter import Static, explain, filter_jit, pytree_dataclass


@pytree_dataclass
class Block:
    weight: Any
    bias: Any
    width: Static[int] = 4


def model(depth: int) -> dict[str, Any]:
    blocks = [Block(jnp.ones((4, 4)), jnp.ones(4)) for _ in range(depth)]
    blocks[-1] = Block(jnp.ones((4, 2)), jnp.ones(2))
    return {"blocks": blocks, "head": jnp.ones(4)}


@filter_jit
def apply(model, x):
    return x


def leaf_lines(text: str) -> list[str]:
    lines = text.splitlines()
    return lines[lines.index("") + 1 :]


def test_of_many_leaves_those_that_are_alike_share_a_row():
    assert leaf_lines(str(explain(apply, model(12), jnp.ones(3)))) == [
        "  leaf                          value     size       filter_jit",
        '  model["blocks"][0-10].weight  f32[4,4]  64 B x 11  traced',
        '  model["blocks"][0-10].bias    f32[4]    16 B x 11  traced',
        '  model["blocks"][11].weight    f32[4,2]  32 B       traced',
        '  model["blocks"][11].bias      f32[2]    8 B        traced',
        '  model["head"]                 f32[4]    16 B       traced',
        "  x                             f32[3]    12 B       traced",
        "traced 26 leaves, 948 B",
    ]


def test_of_few_leaves_each_has_a_row():
    assert len(leaf_lines(str(explain(apply, model(3), jnp.ones(3))))) == 1 + 8 + 1


def test_the_data_has_every_leaf():
    assert len(explain(apply, model(12), jnp.ones(3)).leaves or ()) == 26


def test_a_terminal_is_not_overrun(monkeypatch: pytest.MonkeyPatch):
    def fn(x, y):
        return x

    fn.__annotations__["x"] = "dict[str, list[tuple[int, int, int, int, int, int, int]]]"
    shown = explain(filter_jit(fn))
    assert max(map(len, str(shown).splitlines()[:4])) > 80
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((60, 24)))
    assert max(map(len, str(shown).splitlines()[:4])) <= 60


def test_a_notebook_gets_tables_with_the_same_cells():
    page = explain(apply, model(12), jnp.ones(3))._repr_html_()
    for cell in ("parameter", "filter_jit", "[0-10].weight", "64 B x 11", "not annotated"):
        assert cell in page
    assert page.count("<table>") == 3
    assert "call path: split" in page
