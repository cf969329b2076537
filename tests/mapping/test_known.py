"""Which arrays of a call are mapped is found once for calls that look alike, and for no other call."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from typedfilter import VmapAxisError, filter_vmap, if_array
from typedfilter._mapping.known import KnownCalls
from typedfilter.transforms import vmap


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One entry for each call whose axes were found anew."""
    found: list[Any] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        found.append(args)
        return resolve(*args, **kwargs)

    resolve = vmap.map_arguments
    monkeypatch.setattr(vmap, "map_arguments", counted)
    return found


def total(*args: Any, **kwargs: Any) -> Array:
    return sum((leaf.sum() for leaf in jax.tree.leaves((args, kwargs))), jnp.zeros(()))


XS, Y = jnp.arange(6.0).reshape(3, 2), jnp.arange(2.0)


@pytest.mark.parametrize(
    ("in_axes", "args", "kwargs"),
    [
        ((None, 0), (Y, XS), {}),
        ((0,), ({"a": XS, "b": [XS]},), {"by_name": XS}),
        (({"a": 0, "b": None},), ({"a": XS, "b": Y},), {}),
        (if_array(0), (XS, 2, (XS, None)), {}),
        (1, (XS.T, XS.T), {}),
        ((-1, 0), (XS.T, np.asarray(XS)), {}),
    ],
    ids=["broadcast", "containers", "prefix", "callable of ours", "axis 1", "two axes"],
)
def test_axes_are_found_once(resolved: list[Any], in_axes: Any, args: Any, kwargs: Any):
    def example(*args: Any, **kwargs: Any) -> Array:
        return total(*[leaf for leaf in jax.tree.leaves((args, kwargs)) if isinstance(leaf, jax.Array)])

    mapped = filter_vmap(example, in_axes=in_axes)
    expected = mapped(*args, **kwargs)
    assert len(resolved) == 1
    for _ in range(2):
        np.testing.assert_array_equal(mapped(*args, **kwargs), expected)
    assert len(resolved) == 1


def test_another_size_structure_or_class_is_found_anew(resolved: list[Any]):
    mapped = filter_vmap(total)
    for args in [(XS,), (XS[:2],), ([XS],), (XS, XS), ({"a": XS},), ({"b": XS},), (XS, XS.astype(int))]:
        for _ in range(2):
            assert mapped(*args).shape == (jax.tree.leaves(args)[0].shape[0],)
    assert len(resolved) == 7


def test_sizes_that_disagree_are_refused_after_sizes_that_agreed():
    mapped = filter_vmap(total)
    for _ in range(3):
        mapped(XS, XS)
        with pytest.raises(
            VmapAxisError, match="has size 2 along axis 0, but axis 0 of `args\\[0\\]` has size 3"
        ):
            mapped(XS, XS[:2])


def test_a_callable_is_asked_at_each_call():
    axes = iter([0, 1, 0])
    mapped = filter_vmap(total, in_axes=lambda leaf: next(axes))
    assert [mapped(XS).shape for _ in range(3)] == [(3,), (2,), (3,)]


def test_arguments_reach_the_body_as_they_were_passed():
    seen: list[Any] = []

    def look(x: Any, /, *rest: Any, **named: Any) -> Any:
        seen.append((type(rest), list(named), named["t"]))
        named["t"].append(0)
        return x

    mapped, steps = filter_vmap(look), [1]
    for _ in range(3):
        mapped(XS, XS, z=XS, a=XS, t=steps)
    assert [(cls, names) for cls, names, _ in seen] == [(tuple, ["z", "a", "t"])] * 3
    assert steps == [1]


def test_fields_choose_their_axes_at_each_call():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Pair:
        one: Any
        two: Any

    mapped = filter_vmap(total)
    for sizes in ((3, 2), (4, 5), (3, 2)):
        assert mapped(Pair(jnp.ones(sizes), jnp.ones(sizes))).shape == (sizes[0],)
    with pytest.raises(VmapAxisError):
        mapped(Pair(jnp.ones(3), jnp.ones(2)))


def test_nothing_of_a_call_is_kept():
    class Anybody:
        pass

    mapped = filter_vmap(lambda x, other: x)
    x, other = jnp.ones((3, 2)), Anybody()
    mapped(x, other)
    mapped(x, [other])
    refs = [weakref.ref(x), weakref.ref(other), weakref.ref(Anybody)]
    del x, other, Anybody
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3


def test_calls_of_ever_new_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(KnownCalls, "limit", 3)
    mapped = filter_vmap(lambda x: x + 1)
    for size in (1, 2, 3, 4, 5, 2, 1):
        np.testing.assert_array_equal(mapped(jnp.ones(size)), np.full(size, 2))


def test_tracers_end_with_their_trace():
    mapped = filter_vmap(total, in_axes=(None, 0))
    with jax.checking_leaks():
        for _ in range(3):
            assert jax.jit(filter_vmap(mapped))(jnp.ones((4, 2)), jnp.ones((4, 3, 2))).shape == (4, 3)
