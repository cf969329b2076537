"""`explain` of a loop or branch: what happens to the parameters of its body, and to the leaves they get."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float, Int

from typedfilter import (
    ScanAxis,
    Static,
    explain,
    filter_associative_scan,
    filter_checkpoint,
    filter_cond,
    filter_fori_loop,
    filter_map,
    filter_scan,
    filter_switch,
    filter_while_loop,
    pytree_dataclass,
)


@pytree_dataclass
class Layers:
    w: Float[Array, "*layers n"]
    shared: Annotated[Float[Array, "n"], ScanAxis[None]]
    name: str = "layers"
    rate: float = 0.5


def step(carry: dict[str, Any], x: Layers) -> tuple[dict[str, Any], Array]:
    raise AssertionError("is called")


def column(total: float, x: Annotated[Float[Array, "n"], ScanAxis[1]]) -> tuple[float, None]:
    raise AssertionError("is called")


def power(i: Int[Array, ""], x: Float[Array, "n"], n: Static[int] = 2) -> Any:
    raise AssertionError("is called")


INIT = {"n": 0, "s": "x", "x": jnp.ones(3)}
XS = Layers(jnp.ones((4, 2)), jnp.ones(2))


@pytest.mark.parametrize(
    "xs", [XS, Layers(jax.ShapeDtypeStruct((4, 2), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32))]
)
def test_a_scan_is_explained_by_parameter_and_by_leaf(xs):
    assert str(explain(filter_scan, step, INIT, xs, reverse=True)).splitlines() == [
        "step: filter_scan(reverse=True)",
        "  parameter  filter_scan                       why",
        "  carry      by leaf                           annotated dict[str, Any]",
        "  x          by leaf                           annotated Layers",
        "  return     last carry, results of all steps  annotated tuple[dict[str, Any], Array]",
        (
            "by leaf: filter_scan traces arrays and numbers of the carry, steps through arrays of xs "
            "on axis 0, the rest is static"
        ),
        "",
        "  leaf        value     size  filter_scan",
        '  carry["n"]  0               traced',
        "  carry[\"s\"]  'x'             static",
        '  carry["x"]  f32[3]    12 B  traced',
        "  x.w         f32[4,2]  32 B  axis 0",
        "  x.shared    f32[2]    8 B   broadcast",
        "  x.name      'layers'        static",
        "  x.rate      0.5             static",
    ]


def test_transforms_of_the_body_follow_with_what_one_step_sees():
    found = explain(functools.partial(filter_scan, filter_checkpoint(column)), 0.0, jnp.ones((3, 2)))
    assert str(found).splitlines() == [
        "column: filter_scan of filter_checkpoint",
        "  parameter  filter_scan                       filter_checkpoint  why",
        "  total      traced                            passed on          annotated float",
        (
            "  x          axis 1                            passed on          annotated "
            "Annotated[Float[Array, 'n'], ScanAxis[1]]"
        ),
        "  return     last carry, results of all steps  passed on          annotated tuple[float, None]",
        "",
        "  leaf   value     size  filter_scan  filter_checkpoint",
        "  total  0.0             traced       passed on",
        "  x      f32[3,2]  24 B  axis 1       passed on",
    ]


def effects(*args: Any, **kwargs: Any) -> list[tuple[str, str]]:
    found = explain(*args, **kwargs)
    assert found.leaves is not None
    return [(row.path, row.effects[0]) for row in found.leaves]


def test_every_loop_and_branch_says_what_it_does_to_leaves():
    carried = [("c[0]", "traced"), ("c[1]", "static")]

    def body(c: Any) -> Any:
        raise AssertionError("is called")

    def counted(i: Any, c: Any) -> Any:
        raise AssertionError("is called")

    assert effects(filter_while_loop, body, body, (1, "s")) == carried
    assert effects(filter_fori_loop, 0, 3, counted, (1, "s")) == [("i", "traced"), *carried]
    assert effects(filter_cond, True, body, body, (1, "s")) == carried
    assert effects(filter_switch, 0, [body], (1.0, "s"), check=False) == carried
    assert effects(filter_map, body, (jnp.ones(3), 1)) == [("c[0]", "axis 0"), ("c[1]", "static")]
    elems = effects(filter_associative_scan, counted, (jnp.ones(3), "s"))
    assert elems == [("i[0]", "axis 0"), ("i[1]", "static"), ("c[0]", "axis 0"), ("c[1]", "static")]


def test_without_arguments_there_are_the_parameters_alone():
    found = explain(filter_cond, True, power, power)
    assert found.leaves is None
    assert [(row.name, row.effects[0].what) for row in found.parameters] == [
        ("i", "traced"),
        ("x", "traced"),
        ("n", "static"),
    ]
    assert found.returns.effects[0].what == "result of one branch"


def test_without_a_body_a_loop_is_a_function_as_any_other():
    assert explain(filter_scan).function == "filter_scan"
    assert explain(filter_scan).stack == ()
