"""A field that can't be made: whatever the user's code does with it, no verdict is believed."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import equinox as eqx
import pytest
from jaxtyping import Array, Float

from typedfilter.check import check_shapes
from typedfilter.check.inputs.unmade import UnbuildableError, Unmade
from typedfilter.check.report.results import Result


class Whatever:
    """A class that nobody can make: its constructor takes what it likes."""

    def __init__(self, value):
        self.value = value


class Pool(eqx.Module):
    mode: Whatever

    def compares(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x.sum() if self.mode == "sum" else x

    def differs(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x if self.mode != "sum" else x.sum()

    def looks_up(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x.sum() if self.mode in ("sum", "mean") else x

    def is_none(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x.sum() if self.mode is None else x

    def asks_its_type(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x.sum() if isinstance(self.mode, str) else x

    def matches(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        match self.mode:
            case "sum":
                return x.sum()
            case _:
                return x

    def swallows(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        try:
            return x.sum() if self.mode == "sum" else x
        except Exception:
            return x

    def suppresses(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        with contextlib.suppress(BaseException):
            return x.sum() if self.mode.value > 3 else x.mean()
        return x

    def returns_in_the_end(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        try:
            x = x.sum() if self.mode.value else x
        finally:
            return x  # noqa: B012  # that is the point

    def asks_its_exact_type(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x.sum() if type(self.mode) is Whatever else x

    def asks_for_an_attribute(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x.sum() if hasattr(self.mode, "value") or getattr(self.mode, "other", None) else x

    def asks_whether_it_is_called(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x if callable(self.mode) else x.sum()

    def asks_in_a_list(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x.sum() if [one for one in [self.mode] if one is None] else x

    def does_not_ask(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x


@dataclasses.dataclass
class Plain:
    mode: Whatever

    def is_none(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x.sum() if self.mode is None else x

    def hands_on(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return dataclasses.replace(self).does_not_ask(x)

    def does_not_ask(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        return x


ASKS = {
    *("compares", "differs", "looks_up", "is_none", "asks_its_type", "matches", "swallows", "suppresses"),
    *("returns_in_the_end", "asks_its_exact_type", "asks_for_an_attribute", "asks_whether_it_is_called"),
    "asks_in_a_list",
}


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Result]:
    return {result.function: result for cls in (Pool, Plain) for result in check_shapes(cls)}


@pytest.mark.parametrize(
    "name",
    [
        *(f"Pool.{name}" for name in sorted(ASKS)),
        "Plain.is_none",
    ],
)
def test_no_verdict_stands_on_a_field_that_was_not_made(name, verdicts):
    assert verdicts[name].status == "skipped"
    assert "`value` of `Whatever`" in verdicts[name].message


@pytest.mark.parametrize("name", ["Pool.does_not_ask", "Plain.does_not_ask", "Plain.hands_on"])
def test_a_method_that_does_not_look_at_it_is_judged(name, verdicts):
    assert verdicts[name].status == "proved"


@pytest.mark.usefixtures("verdicts")
def test_the_classes_are_as_they_were_afterwards():
    assert "mode" not in vars(Pool)
    assert Pool("sum").mode == "sum"


USES = {
    "hash": hash,
    "int": int,
    "index": lambda u: range(u),
    "divmod": lambda u: divmod(7, u),
    "floordiv": lambda u: 7 // u,
    "mod": lambda u: u % 2,
    "text": str,
    "format": lambda u: f"{u}",
    "item": lambda u: {"a": 1}[u],
    "contains": lambda u: 1 in u,
    "attribute": lambda u: u.shape,
    "isinstance": lambda u: isinstance(u, int),
    "truth": bool,
}


@pytest.mark.parametrize("use", USES)
def test_every_use_of_it_raises(use):
    made: Any = Unmade(UnbuildableError("no value", "add one"))
    with pytest.raises(UnbuildableError, match="no value"):
        USES[use](made)
