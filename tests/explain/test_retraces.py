"""`log_retraces` and `max_traces`: what they say, the cure, that they end, and keep nothing alive."""

from __future__ import annotations

import collections
import dataclasses
import functools
import gc
import itertools
import logging
import types
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Float
from meshes import set_mesh

from typedfilter._compiling.traces import trace_observers
from typedfilter.annotations import Static, Traced
from typedfilter.errors import AnnotationError, RetraceError
from typedfilter.explain.retraces import log_retraces
from typedfilter.pytree import pytree_dataclass
from typedfilter.transforms.jit import filter_jit

Logged = Callable[[], list[str]]
X = jnp.zeros(3)
LINES = itertools.count(1)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    """What was logged since the last question, without the place of the function."""
    caplog.set_level(logging.DEBUG, logger="typedfilter")

    def messages() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return [message.partition(" is traced again ")[2] for message in found]

    return messages


def untyped():
    """A new jitted function each time, of its own code as far as anybody knows."""

    def step(x, *rest, n=0):
        return x

    step.__code__ = step.__code__.replace(co_firstlineno=next(LINES))
    return filter_jit(step)


def changes(call: Callable[[Any], Any], *values: Any) -> None:
    for value in values:
        call(value)


def test_the_whole_message_names_function_place_number_change_and_cure(caplog):
    @filter_jit
    def step(x: Float[Array, "n"], lr: float):
        return x * lr

    step(X, 0.1)
    with log_retraces():
        step(X, 0.2)
    line = step.__wrapped__.__code__.co_firstlineno
    assert [record.getMessage() for record in caplog.records] == [
        (
            f"step() ({__file__}:{line}) is traced again (trace 2): `lr` 0.1 -> 0.2\n"
            "  fix: annotate `lr` as Traced[float], so that its value is no constant of the program"
        )
    ]


def test_the_cure_cures(logged: Logged):
    @filter_jit
    def step(x: Float[Array, "n"], lr: Traced[float]):
        return x * lr

    with log_retraces():
        step(X, 0.1)
        step(X, 0.2)
    assert logged() == []


def test_what_is_new_is_named(logged: Logged):
    @filter_jit
    def step(x: Float[Array, "n"], rate: Traced[float], n: Static[int]) -> Float[Array, "n"]:
        return x

    with log_retraces():
        step(jnp.zeros(3), 0.1, 1)
        step(jnp.zeros(4), 0.2, 1)
        step(jnp.zeros(4), 0.2, 2)
        step(jnp.zeros(5), jnp.float32(0.2), 2)
    assert logged() == [
        "(trace 2): `x` f32[3] -> f32[4]\n  fix: pad `x` to one shape, or to a few (buckets)",
        (
            "(trace 3): `n` 1 -> 2\n"
            "  fix: each value of `n` has a program of its own: "
            "pass fewer values, or annotate it as Traced[int]"
        ),
        (
            "(trace 4): `x` f32[4] -> f32[5]; `rate` f32[] (weakly typed) -> f32[]\n"
            "  fix: pad `x` to one shape, or to a few (buckets); "
            "pass `rate` as a Python number each time, or as an array each time"
        ),
    ]


def test_the_most_similar_earlier_trace_is_compared_with(logged: Logged):
    @filter_jit
    def step(x, n, m):
        return x

    step(jnp.zeros(3), 1, 1)
    step(jnp.zeros(4), 2, 2)
    with log_retraces():
        step(jnp.zeros(3), 1, 2)
    (message,) = logged()
    assert message.startswith("(trace 3): `m` 1 -> 2\n")


def test_leaves_and_structures_are_named(logged: Logged):
    step = untyped()
    step({"a": X})
    with log_retraces():
        step({"a": X, "b": "text"})
        step([X])
        step((X,))
        step((X,), 1.0)
    assert [message.partition("\n")[0] for message in logged()] == [
        "(trace 2): `x[\"b\"]` absent -> 'text'",
        "(trace 3): `x` dict -> list",
        "(trace 4): `x` list -> tuple",
        "(trace 5): `rest[0]` absent -> 1.0",
    ]


def test_the_types_of_static_values_are_told_apart(logged: Logged):
    step = untyped()
    with log_retraces():
        changes(step, 1, 1.0, True, np.int64(1))
    assert [message.partition("\n")[0] for message in logged()] == [
        "(trace 2): `x` 1 -> 1.0",
        "(trace 3): `x` 1.0 -> True",
        "(trace 4): `x` True -> i32[]",
    ]


class ByIdentity: ...


def test_functions_that_are_made_anew_are_never_taken_for_one(logged: Logged):
    step = untyped()
    with log_retraces():
        for _ in range(3):
            step(lambda: 1)
            gc.collect()
    assert logged() == [
        f"(trace {number}): `x` <function <lambda>> -> another <function <lambda>>\n"
        "  fix: `x` is a new function each time: define it once, outside of the loop that calls"
        for number in (2, 3)
    ]


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (
            lambda: functools.partial(jnp.sin, 1.0),
            "`x` is a new functools.partial each time: make it once, outside of the loop that calls",
        ),
        (
            ByIdentity,
            (
                "keep one ByIdentity, or let ByIdentity compare by value (a frozen dataclass): "
                "it compares by identity"
            ),
        ),
    ],
    ids=["partial", "by identity"],
)
def test_objects_that_are_made_anew_are_named(logged: Logged, make, cure):
    step, made = untyped(), (make(), make())
    with log_retraces():
        changes(step, *made)
    assert [message.partition("  fix: ")[2] for message in logged()] == [cure]


def test_a_function_that_is_jitted_anew_each_time_is_named(logged: Logged):
    with log_retraces():
        for _ in range(2):
            filter_jit(lambda x: x)(X)
    assert logged() == [
        (
            "(trace 2): it is another function object of the same code\n"
            "  fix: define the function, and transform it, once: not in the loop that calls it"
        )
    ]


def test_two_functions_of_one_name_are_told_apart(logged: Logged):
    with log_retraces():
        for fn in (lambda x: x, lambda x: x + 1):
            filter_jit(fn)(X)
    assert logged() == []


def test_equal_code_of_two_files_is_of_two_functions(logged: Logged):
    def step(x):
        return x

    with log_retraces():
        for filename in ("one.py", "two.py"):
            step.__code__ = step.__code__.replace(co_filename=filename, co_firstlineno=1)
            filter_jit(types.FunctionType(step.__code__, {}))(X)
            gc.collect()
    assert logged() == []


def test_settings_of_jax_are_named(logged: Logged):
    step = untyped()
    step(X)
    with log_retraces(), jax.default_matmul_precision("float32"):
        step(X)
    assert logged() == [
        (
            "(trace 2): jax_default_matmul_precision None -> 'float32'\n"
            "  fix: call it under one setting of jax_default_matmul_precision"
        )
    ]


def test_a_cache_that_jax_has_cleared_is_named(logged: Logged):
    step = untyped()
    step(X)
    jax.clear_caches()
    with log_retraces():
        step(X)
    assert logged() == [
        (
            "(trace 2): nothing that it is keyed by differs\n"
            "  fix: keep its programs: a cache was cleared, "
            "or a setting of JAX is another that none of these is"
        )
    ]


def test_after_clear_cache_a_function_begins_anew(logged: Logged):
    step = untyped()
    step(X)
    step.clear_cache()
    with log_retraces():
        step(X)
    assert logged() == []


def test_options_make_another_function_of_one(logged: Logged):
    def step(x):
        return x

    with log_retraces():
        filter_jit(step)(jnp.zeros(3))
        filter_jit(step, check=False)(jnp.zeros(4))
    assert logged() == []


@pytree_dataclass
class Layer:
    weight: Any
    size: Static[Any] = 1
    bias: Any = None


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float


class Options:
    def run(self, x):
        return x


def node_with(aux):
    class Node:
        def __init__(self, child, aux):
            self.child, self.aux = child, aux

    jax.tree_util.register_pytree_node(
        Node, lambda node: ((node.child,), node.aux), lambda aux, children: Node(*children, aux)
    )
    return [Node(X, one) for one in aux]


def as_array(where):
    return f"pass {where} as an array (jax.numpy.asarray), or in what is annotated Traced[...]"


def own_program(where, more=""):
    return f"each value of {where} has a program of its own: pass fewer values{more}"


NEVER = "pass {} each time, or never"
ONE = "pass `x` in one structure: the same classes and containers each time"
TRACED = ", or annotate it as Traced[int]"


@pytest.mark.parametrize(
    ("values", "change", "cure"),
    [
        ([Layer(X), Layer(X, 2)], "`x.size` 1 -> 2", own_program("`x.size`", TRACED)),
        ([[Layer(X)], [Layer(X, "a")]], "`x[0].size` 1 -> 'a'", own_program("`x[0].size`")),
        ([Layer(X, bias=X), Layer(X)], "`x.bias` f32[3] -> None", NEVER.format("`x.bias`")),
        (
            [Layer(X), Layer(None, bias=X)],
            "`x.weight` f32[3] -> None; `x.bias` None -> f32[3]",
            NEVER.format("`x.weight`, `x.bias`"),
        ),
        ([Layer(X, bias=1), Layer(X, bias=2)], "`x.bias` 1 -> 2", as_array("`x.bias`")),
        (
            [Layer(X, bias=jnp.sin), Layer(X, bias=jnp.cos)],
            "`x.bias` <PjitFunction sin> -> <PjitFunction cos>",
            "each function in `x.bias` has a program of its own: pass fewer, or choose inside: filter_switch",
        ),
        (
            [[X], [X, X]],
            "`x[1]` absent -> f32[3]",
            "pass as many entries each time, or one array: `x[1]` is there in some calls only",
        ),
        (node_with(["p", "q"]), "`x.<static part>` 'p' -> 'q'", own_program("`x.<static part>`")),
        (
            [collections.OrderedDict(a=X, b=X), collections.OrderedDict(b=X, a=X)],
            "`x.<static part>` ('a', 'b') -> ('b', 'a')",
            own_program("`x.<static part>`"),
        ),
        ([Layer(X), [X]], "`x` Layer -> list", ONE),
        (
            [*node_with([None]), *node_with([None])],
            "`x` Node -> another Node",
            "define the class of `x` once: it is another class of the same name",
        ),
        (
            [Config(0.1), Config(0.2)],
            "`x` Config(rate=0.1) -> Config(rate=0.2)",
            (
                "each value of `x` has a program of its own: pass fewer, "
                "or what changes as an argument by itself"
            ),
        ),
        (
            [Options().run, Options().run],
            "`x` <method Options.run> -> another <method Options.run>",
            "`x` is a method of a new Options each time: keep one, or let Options compare by value",
        ),
        (
            [jax.random.key(0), jax.random.PRNGKey(0)],
            "`x` key<fry>[] -> u32[2]",
            "make the keys in `x` in one way: jax.random.key, of one implementation",
        ),
    ],
)
def test_what_differs_is_named_by_its_path(logged: Logged, values, change, cure):
    step = untyped()
    with log_retraces():
        changes(step, *values)
    assert logged() == [f"(trace 2): {change}\n  fix: {cure}"]


def test_of_many_changes_and_places_some_are_told(logged: Logged):
    step = untyped()
    with log_retraces():
        changes(step, [Layer(X)] * 8, [Layer(X, 2)] * 8)
    assert logged() == [
        (
            "(trace 2): `x[0].size` 1 -> 2; `x[1].size` 1 -> 2; `x[2].size` 1 -> 2; `x[3].size` 1 -> 2; "
            "`x[4].size` 1 -> 2; and 3 more\n"
            "  fix: each value of `x[0].size`, `x[1].size`, `x[2].size`, and 5 more has a program of its "
            "own: pass fewer values, or annotate it as Traced[int]"
        )
    ]


def test_numbers_of_numpy_that_are_static_are_told_apart_by_value_and_type(logged: Logged):
    @filter_jit
    def step(n: Static[Any]):
        return n

    with log_retraces():
        changes(step, np.int32(1), np.int64(1))
    assert [message.partition("\n")[0] for message in logged()] == [
        "(trace 2): `n` np.int32(1) -> np.int64(1)"
    ]


def test_a_method_of_one_instance_is_no_change(logged: Logged):
    options = Options()

    @filter_jit
    def step(x, run):
        return x

    with log_retraces():
        step(X, options.run)
        step(X[:2], options.run)
    assert [message.partition("\n")[0] for message in logged()] == ["(trace 2): `x` f32[3] -> f32[2]"]


def test_what_a_function_that_is_made_anew_closes_over_is_named(logged: Logged):
    def scale(factor):
        filter_jit(lambda x: x * factor)(X)

    with log_retraces():
        changes(scale, 1, 2, 3)
    assert logged() == [
        (
            f"(trace {number}): it is another function object of the same code\n"
            "  fix: define the function, and transform it, once: not in the loop that calls it; "
            "pass `factor`, which it closes over, as an argument"
        )
        for number in (2, 3)
    ]


def test_a_partial_and_a_method_that_are_transformed_anew_are_traced_once(logged: Logged):
    def scale(x, by):
        return x * by

    options = Options()
    with log_retraces():
        for _ in range(2):
            filter_jit(functools.partial(scale, by=2.0))(X)
            filter_jit(options.run)(X)
    assert logged() == []


def test_the_default_device_is_a_setting(logged: Logged):
    step = untyped()
    step(X)
    with log_retraces(), jax.default_device(jax.devices()[1]):
        step(jnp.zeros(3))
    (message,) = logged()
    assert message.startswith("(trace 2): jax_default_device None -> ")


def test_a_mesh_is_told_by_its_axes(logged: Logged):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    step = untyped()
    x = jnp.zeros(4)
    with log_retraces():
        step(x)
        with set_mesh(mesh):
            step(x)
            step(jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))))
    assert logged() == [
        (
            "(trace 2): the ambient mesh none -> data=2 (Explicit)\n"
            "  fix: call it under one setting of the ambient mesh"
        ),
        (
            "(trace 3): `x` f32[4] split by PartitionSpec(None) -> f32[4] split by PartitionSpec('data')\n"
            "  fix: place `x` in one way each time"
        ),
    ]


def test_long_values_are_cut(logged: Logged):
    step = untyped()
    with log_retraces():
        changes(step, "a", "b" * 100)
    (message,) = logged()
    assert message.partition("\n")[0] == "(trace 2): `x` 'a' -> 'bbbbbbbbbb" + "b" * 46 + "..."


class Loud:
    def __repr__(self):
        raise KeyError("no repr")


def test_a_repr_that_raises_changes_nothing(logged: Logged):
    step = untyped()
    with log_retraces():
        changes(step, Loud(), Loud())
    (message,) = logged()
    assert message.startswith("(trace 2): `x` <Loud object> -> another <Loud object>")


def test_it_logs_at_the_level_that_is_asked_for(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger="typedfilter")
    step = untyped()
    with log_retraces(logging.INFO):
        changes(step, jnp.zeros(3), jnp.zeros(4))
    assert {(record.name, record.levelname) for record in caplog.records} == {("typedfilter", "INFO")}


def test_a_level_that_is_no_number_is_refused_at_once():
    with pytest.raises(TypeError) as e:
        log_retraces("high")
    assert str(e.value) == "log_retraces() takes a level such as logging.INFO, which is a number, not 'high'"
    assert trace_observers == []


def test_it_ends_by_a_call_or_with_its_block(logged: Logged):
    step = untyped()
    undo = log_retraces()
    step(jnp.zeros(3))
    undo()
    undo()
    step(jnp.zeros(4))
    with log_retraces():
        pass
    step(jnp.zeros(5))
    assert logged() == []
    assert trace_observers == []


def test_two_at_once_end_independently(logged: Logged):
    step = untyped()
    first = log_retraces()
    with log_retraces():
        step(jnp.zeros(3))
    step(jnp.zeros(4))
    first()
    assert len(logged()) == 1


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("0", 0), ("", 0)])
def test_the_environment_turns_it_on(logged: Logged, monkeypatch, value, count):
    monkeypatch.setenv("TYPEDFILTER_LOG_RETRACES", value)
    changes(untyped(), jnp.zeros(3), jnp.zeros(4))
    assert len(logged()) == count


def test_nothing_that_was_seen_is_kept_alive(logged: Logged):
    @filter_jit
    def step(tag: Static[Any], x):
        return x

    with log_retraces():
        gone = []
        for _ in range(2):
            tag = ByIdentity()
            gone.append(weakref.ref(tag))
            step(tag, X)
            step.clear_cache()
            del tag
        gc.collect()
    assert [ref() for ref in gone] == [None, None]


# -------------------------------------------------------------------------------------------- max_traces


def test_one_trace_more_than_allowed_is_an_error_with_the_cure():
    @filter_jit(max_traces=2)
    def step(x, lr):
        return x

    step(X, 1)
    step(X, 2)
    step(X, 1)
    with pytest.raises(RetraceError) as caught:
        step(X, 3)
    line = step.__wrapped__.__code__.co_firstlineno
    assert str(caught.value) == (
        "step(): is traced again (trace 3), and max_traces is 2\n"
        f"  expected: a program that is there already ({__file__}:{line})\n"
        "  found: `lr` 2 -> 3\n"
        "  fix: annotate `lr` as Traced[int], so that its value is no constant of the program"
    )
    assert (step(X, 2) == X).all()


def test_a_trace_that_fails_does_not_count():
    @filter_jit(max_traces=1)
    def step(x):
        if x.shape == (3,):
            raise KeyError
        return x

    with pytest.raises(KeyError):
        step(X)
    assert step(X[:2]).shape == (2,)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_a_limit_that_is_none_is_refused_by_the_decorator(count):
    with pytest.raises(AnnotationError, match="has no max_traces="):
        filter_jit(lambda x: x, max_traces=count)
