"""`explain`: the whole table for each kind of stack, and the same facts as data."""

from __future__ import annotations

import dataclasses
import functools
import types
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float, Int

from typedfilter._wrapping.effects import Act
from typedfilter.annotations import Diff, Donate, NoDiff, Static, Traced
from typedfilter.errors import VmapAxisError
from typedfilter.explain.table import Explanation, explain
from typedfilter.pytree import pytree_dataclass
from typedfilter.transforms.grad import filter_grad, filter_value_and_grad
from typedfilter.transforms.jit import filter_jit
from typedfilter.transforms.tracing import filter_make_jaxpr
from typedfilter.transforms.vmap import filter_vmap
from typedfilter.vmap_axis import VmapAxis


def lines(*parts: str) -> str:
    return "\n".join(parts)


def table(fun: Any, *args: Any, **kwargs: Any) -> str:
    """The text without the call path, which tests of the engine cover."""
    return str(dataclasses.replace(explain(fun, *args, **kwargs), path=None))


@filter_jit
def smooth(
    signal: Donate[Float[Array, "n"]], rate: Traced[float], steps: Static[int] = 1
) -> Float[Array, "n"]:
    return signal


@pytree_dataclass
class Model:
    weight: Float[Array, "n"]
    frozen: NoDiff[Float[Array, "n"]]
    table: Annotated[Float[Array, "m"], VmapAxis[None]]
    name: Static[str]

    def __call__(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        return (self.weight * x).sum()


def model() -> Model:
    return Model(jnp.ones(3), jnp.ones(3), jnp.ones(4), "m")


def loss(model: Model, x: Float[Array, "n"], labels: Int[Array, "n"], flag=True) -> Float[Array, ""]:
    return model(x)


# ---------------------------------------------------------------------------------------------- tables


def test_a_jitted_function():
    assert table(smooth) == lines(
        "smooth: filter_jit",
        "  parameter  filter_jit       why",
        "  signal     traced, donated  annotated Donate[Float[Array, 'n']]",
        "  rate       traced           annotated Traced[float]",
        "  steps      static           annotated Static[int]",
        "  return     traced           annotated Float[Array, 'n']",
    )


def test_a_call_of_a_jitted_function_leaf_by_leaf():
    assert table(smooth, jnp.zeros(1 << 18), rate=0.1) == lines(
        "smooth: filter_jit",
        "  parameter  filter_jit       why",
        "  signal     traced, donated  annotated Donate[Float[Array, 'n']]",
        "  rate       traced           annotated Traced[float]",
        "  steps      static           annotated Static[int]",
        "  return     traced           annotated Float[Array, 'n']",
        "",
        "  leaf    value        size     filter_jit",
        "  signal  f32[262144]  1.0 MiB  traced, donated",
        "  rate    0.1                   traced",
        "  steps   1                     static",
        "traced 2 leaves, 1.0 MiB; donated 1 leaf, 1.0 MiB; static 1 leaf",
    )


def test_a_stack_shows_every_transform_and_the_marks_of_fields():
    stacked = filter_jit(filter_vmap(filter_grad(loss)))
    assert table(stacked, model(), jnp.ones((2, 3)), jnp.ones((2, 3), int)) == lines(
        "loss: filter_jit of filter_vmap of filter_grad",
        "  parameter  filter_jit  filter_vmap  filter_grad          why",
        "  model      traced      by leaf      by leaf              annotated Model; "
        "filter_grad: the first argument",
        "  x          traced      axis 0       constant             annotated Float[Array, 'n']; "
        "filter_grad: not the first argument",
        "  labels     traced      axis 0       constant             annotated Int[Array, 'n']; "
        "filter_grad: not the first argument",
        "  flag       by leaf     by leaf      constant             not annotated; "
        "filter_grad: not the first argument",
        "  return     by leaf     by leaf      gradient of `model`",
        "by leaf: filter_jit traces arrays, the rest is static; filter_vmap maps axis 0 of arrays, "
        "broadcasts the rest; filter_grad differentiates floating-point arrays",
        "",
        "  leaf          value     size  filter_jit  filter_vmap  filter_grad",
        "  model.weight  f32[3]    12 B  traced      axis 0       differentiated",
        "  model.frozen  f32[3]    12 B  traced      axis 0       constant",
        "  model.table   f32[4]    16 B  traced      broadcast    differentiated",
        "  x             f32[2,3]  24 B  traced      axis 0       constant",
        "  labels        i32[2,3]  24 B  traced      axis 0       constant",
        "  flag          True            static      broadcast    constant",
        "traced 5 leaves, 88 B; static 1 leaf",
    )


def test_options_go_before_annotations():
    second = Annotated[Array, VmapAxis[1]]

    def fn(x: Float[Array, "n"], y: second, *rest: Any, **named: Any) -> second:
        return x

    fn.__qualname__ = "fn"
    stacked = filter_jit(filter_vmap(fn, in_axes={"x": None, "y": [0, None]}, out_axes=0), donate="all")
    assert table(
        stacked, jnp.ones(3), [jnp.ones(3), jnp.ones(3)], jnp.ones(3), a={"b": "c", "d": None}
    ) == lines(
        "fn: filter_jit(donate='all') of filter_vmap(in_axes={'x': None, 'y': [0, None]}, out_axes=0)",
        "  parameter  filter_jit        filter_vmap  why",
        "  x          traced, donated   broadcast    annotated Float[Array, 'n']; "
        "filter_jit: donate='all'; filter_vmap: in_axes=None",
        "  y          traced, donated   by leaf      annotated Annotated[Array, VmapAxis[1]]; "
        "filter_jit: donate='all'; filter_vmap: in_axes=[0, None]",
        "  rest       by leaf, donated  by leaf      annotated Any; filter_jit: donate='all'",
        "  named      by leaf, donated  by leaf      annotated Any; filter_jit: donate='all'",
        "  return     by leaf           axis 0       filter_vmap: out_axes=0",
        "by leaf: filter_jit traces arrays, the rest is static; filter_vmap maps axis 0 of arrays, "
        "broadcasts the rest",
        "",
        "  leaf     value   size  filter_jit       filter_vmap",
        "  x        f32[3]  12 B  traced, donated  broadcast",
        "  y[0]     f32[3]  12 B  traced, donated  axis 0",
        "  y[1]     f32[3]  12 B  traced, donated  broadcast",
        "  rest[0]  f32[3]  12 B  traced, donated  axis 0",
        "  a[\"b\"]   'c'           static           broadcast",
        "traced 4 leaves, 48 B; donated 4 leaves, 48 B; static 1 leaf",
    )


def test_all_but_the_first_argument_donated():
    def fn(x: Array, y: Array) -> Array:
        return x

    fn.__qualname__ = "fn"
    assert table(filter_jit(fn, donate="all-except-first")) == lines(
        "fn: filter_jit(donate='all-except-first')",
        "  parameter  filter_jit       why",
        "  x          traced           annotated Array",
        "  y          traced, donated  annotated Array; donate='all-except-first'",
        "  return     traced           annotated Array",
    )


def test_marked_gradients():
    def fn(
        x: Array, a: Diff[Float[Array, "n"]], b: Diff[Traced[float]], c: NoDiff[Array]
    ) -> Float[Array, ""]:
        return x

    fn.__qualname__ = "fn"
    assert table(filter_value_and_grad(fn), jnp.ones(2), jnp.ones(2), 0.5, jnp.ones(2)) == lines(
        "fn: filter_value_and_grad",
        "  parameter  filter_value_and_grad        why",
        "  x          constant                     others are marked Diff",
        "  a          differentiated               annotated Diff[Float[Array, 'n']]",
        "  b          by leaf                      annotated Diff[Traced[float]]",
        "  c          constant                     annotated NoDiff[Array]",
        "  return     value, gradient of `a`, `b`",
        "by leaf: filter_value_and_grad differentiates floating-point arrays",
        "",
        "  leaf  value   size  filter_value_and_grad",
        "  x     f32[2]  8 B   constant",
        "  a     f32[2]  8 B   differentiated",
        "  b     0.5           differentiated",
        "  c     f32[2]  8 B   constant",
    )


def cells(fun: Any, *args: Any, **kwargs: Any) -> dict[str, tuple[str, ...]]:
    """The effects of each leaf of a call, by its path."""
    return {row.path: row.effects for row in explain(fun, *args, **kwargs).leaves or ()}


@pytree_dataclass
class Pendulum:
    length: Float[Array, ""]
    gravity: Traced[float]


@pytree_dataclass
class Labelled:
    parts: Any
    gravity: Traced[float]


def test_a_field_annotated_traced_is_traced_wherever_its_class_is():
    def fn(pendulum, labelled):
        seen.extend(jax.tree.leaves((pendulum, labelled)))

    seen: list[Any] = []
    args = Pendulum(jnp.ones(()), 9.8), Labelled([jnp.ones(2), "a", 2.0], 9.8)
    jitted = filter_jit(fn)
    jitted(*args)
    shown = cells(jitted, *args)
    assert list(shown.values()) == [
        ("traced",) if isinstance(leaf, jax.core.Tracer) else ("static",) for leaf in seen
    ]
    assert shown == {
        "pendulum.length": ("traced",),
        "pendulum.gravity": ("traced",),
        "labelled.parts[0]": ("traced",),
        "labelled.parts[1]": ("static",),
        "labelled.parts[2]": ("static",),
        "labelled.gravity": ("traced",),
    }


def test_what_an_outer_transform_made_of_a_number_is_broadcast():
    def fn(rate: Traced[float], offset: Float[Array, ""], x: Float[Array, ""]) -> Float[Array, ""]:
        return rate * x + offset

    mapped = filter_vmap(fn)
    args = jnp.array(2.0), jnp.asarray(1.0, dtype=float), jnp.arange(3.0)
    weak = args[0], jax.lax.full_like(1.0, 1.0), args[2]
    assert weak[1].weak_type
    assert list(mapped(*weak)) == [1.0, 3.0, 5.0]
    assert cells(mapped, *weak) == {"rate": ("broadcast",), "offset": ("broadcast",), "x": ("axis 0",)}


def test_an_inner_map_is_asked_about_what_is_left_of_an_array():
    def fn(rate: Traced[float], x: Float[Array, ""]) -> Float[Array, ""]:
        return rate * x

    twice = filter_vmap(filter_vmap(fn))
    args = jnp.arange(2.0), jnp.ones((2, 3))
    assert twice(*args).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert cells(twice, *args) == {"rate": ("axis 0", "broadcast"), "x": ("axis 0", "axis 0")}


def test_structs_are_mapped_and_differentiated_like_arrays():
    def fn(x: Annotated[Float[Array, "n"], VmapAxis[1]], /, y: Any) -> Float[Array, ""]:
        return x.sum()

    struct = jax.ShapeDtypeStruct((3, 2), jnp.float32)
    stacked = filter_jit(filter_vmap(filter_grad(fn)))
    assert cells(stacked, struct, y=struct) == {
        "x": ("traced", "axis 1", "differentiated"),
        "y": ("traced", "axis 0", "constant"),
    }


def test_each_of_several_arguments_under_a_star_has_its_own_axis():
    mapped = filter_vmap(lambda first, *rest: first, in_axes=(0, None, 1))
    args = jnp.ones(2), jnp.ones(3), jnp.ones((3, 2))
    assert cells(mapped, *args) == {"first": ("axis 0",), "rest[0]": ("broadcast",), "rest[1]": ("axis 1",)}


def test_of_arguments_under_a_star_the_first_is_differentiated():
    assert cells(filter_grad(lambda *xs: xs[0] * xs[1]), jnp.ones(()), jnp.ones(())) == {
        "xs[0]": ("differentiated",),
        "xs[1]": ("constant",),
    }


def test_arguments_that_are_bound_shift_no_axes():
    mapped = filter_vmap(lambda a, b, *, c: a, in_axes=(None, 1))
    args = jnp.ones((3, 2)), jnp.ones(2)
    assert cells(functools.partial(mapped, jnp.ones(5)), args[0], c=args[1]) == {
        "b": ("axis 1",),
        "c": ("axis 0",),
    }

    class Trainer:
        @filter_jit
        @filter_vmap(in_axes={"x": 1})
        def step(self, x, y):
            return x

    assert cells(Trainer().step, *args) == {"x": ("traced", "axis 1"), "y": ("traced", "axis 0")}


def test_what_is_left_to_its_default_is_filled_in_where_the_function_is():
    ones = jnp.ones(3)

    def fn(x=ones, y=ones):
        return (x * y).sum()

    assert cells(filter_jit(fn), jnp.zeros(3)) == {"x": ("traced",), "y": ("traced",)}
    stacked = filter_jit(filter_vmap(filter_grad(fn)))
    assert cells(stacked, y=jnp.zeros(3)) == {
        "x": ("static", "broadcast", "differentiated"),
        "y": ("traced", "axis 0", "constant"),
    }


def test_a_jaxpr_is_asked_in_its_own_way():
    made = filter_make_jaxpr(lambda pendulum, n: pendulum)
    assert cells(made, Pendulum(jax.ShapeDtypeStruct((), jnp.float32), 9.8), 3) == {
        "pendulum.length": ("traced",),
        "pendulum.gravity": ("static",),
        "n": ("static",),
    }


def test_axes_that_do_not_fit_are_an_error_of_the_explanation_too():
    mapped = filter_vmap(lambda x: x, in_axes={"x": (0, None)})
    with pytest.raises(VmapAxisError, match=r"argument `x` does not fit in_axes=\(0, None\)"):
        explain(mapped, jnp.ones(3))


def test_a_gradient_with_auxiliary_data():
    def fn(x: Array) -> tuple[Float[Array, ""], dict[str, Array]]:
        return x, {}

    assert explain(filter_grad(fn, has_aux=True)).returns.effects[0].what == "gradient of `x`, aux"
    both = explain(filter_value_and_grad(fn, has_aux=True)).returns.effects[0].what
    assert both == "value and aux, gradient of `x`"


def test_a_plain_function_shows_what_transforms_would_do():
    def fn(x, n: int = 3) -> Array:
        return x

    fn.__qualname__ = "fn"
    assert table(fn) == lines(
        "fn: not transformed; what transforms would do",
        "  parameter  filter_jit  filter_grad      filter_vmap  why",
        "  x          by leaf     by leaf          by leaf      not annotated; "
        "filter_grad: the first argument",
        "  n          static      constant         broadcast    annotated int; "
        "filter_grad: not the first argument",
        "  return     traced      gradient of `x`  axis 0       annotated Array",
        "by leaf: filter_jit traces arrays, the rest is static; filter_grad differentiates floating-point "
        "arrays; filter_vmap maps axis 0 of arrays, broadcasts the rest",
    )


def test_a_class_without_parameters_has_nothing_to_differentiate():
    class Empty: ...

    assert table(Empty).splitlines()[:3] == [
        "Empty: not transformed; what transforms would do",
        "  parameter  filter_jit  filter_grad               filter_vmap  why",
        "  return     by leaf     nothing to differentiate  by leaf      annotated Empty",
    ]


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.checkpoint, jax.custom_jvp])
def test_what_jax_has_transformed_is_said_to_be_wrapped(transform: Any):
    first = str(explain(transform(loss))).splitlines()[0]
    assert first == "loss: wrapped by jax, which is not looked into; what transforms would do"


def test_a_decorator_from_the_package_of_the_function_is_part_of_it():
    @functools.wraps(loss)
    def decorated(*args: Any) -> Any:
        return loss(*args)

    assert explain(decorated).outside == "not transformed"


def test_a_callable_model_is_bound():
    assert table(filter_jit(model()), jnp.ones(3)) == lines(
        "Model.__call__: filter_jit",
        "  parameter  filter_jit  why",
        "  x          traced      annotated Float[Array, 'n']",
        "  return     traced      annotated Float[Array, '']",
        "bound: a Model; what is bound travels like an argument",
        "",
        "  leaf  value   size  filter_jit",
        "  x     f32[3]  12 B  traced",
        "traced 1 leaf, 12 B",
    )


def test_a_partial_between_two_transforms_is_seen_through():
    vmapped = filter_vmap(loss)
    stacked = filter_jit(functools.partial(vmapped, model()))
    assert [stage.transform for stage in explain(stacked).stack] == ["filter_jit", "filter_vmap"]
    assert [row.name for row in explain(stacked).parameters] == ["x", "labels", "flag"]
    assert explain(stacked).bound == ("a Model",)


def test_methods_are_explained_with_and_without_their_object():
    class Trainer:
        @filter_jit
        def step(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x

    assert [row.name for row in explain(Trainer.step).parameters] == ["self", "x"]
    assert [row.name for row in explain(Trainer().step).parameters] == ["x"]
    assert explain(Trainer().step).bound == ("a Trainer",)


def test_a_builtin_is_explained():
    assert [row.effects[0].what for row in explain(filter_jit(len)).parameters] == ["by leaf"]


def test_structs_stand_for_arrays():
    rows = explain(smooth, jax.ShapeDtypeStruct((3, 4), jnp.bfloat16), 0.1).leaves
    assert rows is not None
    assert (rows[0].value, rows[0].bytes, rows[0].traced) == ("bf16[3,4]", 24, True)


def test_the_facts_are_data():
    explained = explain(smooth, jnp.zeros(4), 0.1)
    assert isinstance(explained, Explanation)
    assert explained.function == "smooth"
    assert str(explained) == repr(explained)
    row = explained.parameters[0]
    assert row.name == "signal"
    (effect,) = row.effects
    assert (effect.transform, effect.what) == ("filter_jit", "traced, donated")
    assert effect.act is Act.TRACED
    assert effect.donated
    assert effect.why == ("annotated Donate[Float[Array, 'n']]",)
    assert explained.leaves is not None
    signal, rate, steps = explained.leaves
    assert (signal.traced, signal.donated, signal.bytes) == (True, True, 16)
    assert (rate.traced, rate.donated, rate.bytes) == (True, False, None)
    assert (steps.traced, steps.donated, steps.bytes) == (False, False, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        explained.large = 3


def test_the_signature_is_that_of_the_function():
    with pytest.raises(TypeError, match="missing a required argument: 'rate'"):
        explain(smooth, jnp.zeros(4))


def test_nothing_is_run_or_donated():
    ran = []

    @filter_jit
    def fn(x: Donate[Array]) -> Array:
        ran.append(1)
        return x

    x = jnp.zeros(4)
    explain(fn, x)
    assert ran == []
    assert not x.is_deleted()


# ------------------------------------------------------------------------------------ captured arrays

BIG = np.zeros((512, 512), np.float32)
SMALL = {"a": np.zeros(3), "text": "abc"}


def uses_big(x: Any) -> Any:
    return x + BIG


# As if it were imported: a function of another module.
library = types.FunctionType(uses_big.__code__, {"BIG": BIG})


def names(fun: Any) -> list[str]:
    return [one.name for one in explain(fun).captured]


def test_large_arrays_that_are_closed_over_are_listed():
    data = jnp.zeros((1024, 1024))

    @filter_jit
    def fn(x):
        return x @ data + BIG.sum() + SMALL["a"].sum()

    fn.__wrapped__.__qualname__ = "fn"
    assert table(fn) == lines(
        "fn: filter_jit",
        "  parameter  filter_jit  why",
        "  x          by leaf     not annotated",
        "  return     by leaf",
        "by leaf: filter_jit traces arrays, the rest is static",
        "constant: `data` f32[1024,1024], 4.0 MiB, is baked into the program; pass it as an argument",
        "constant: `BIG` numpy f32[512,512], 1.0 MiB, is baked into the program; pass it as an argument",
    )
    assert names(fn) == ["data", "BIG", 'SMALL["a"]']


def test_what_counts_as_large_can_be_chosen():
    explained = explain(uses_big)
    assert [one.name for one in explained.constants] == ["BIG"]
    assert dataclasses.replace(explained, large=1 << 21).constants == ()
    assert "constant: `BIG`" not in str(dataclasses.replace(explained, large=1 << 21))


def test_helpers_partials_and_inner_functions_are_looked_through():
    data, other = jnp.zeros(3), jnp.zeros(4)
    inner = functools.partial(lambda a, b: a + b, other)

    def fn(x):
        def deeper(y):
            return uses_big(y) + data

        return inner(deeper(x))

    assert names(fn) == ["uses_big.BIG", "inner[0]", "data"]


def test_functions_of_other_modules_are_not_looked_through():
    def fn(x):
        return library(x)

    assert names(fn) == []


def test_attributes_that_happen_to_be_named_like_a_global_are_not_captured():
    def fn(x):
        return x.BIG

    assert names(fn) == []


def test_an_array_is_listed_once():
    first = second = jnp.zeros(3)

    def fn(x):
        return first + second + first

    assert names(fn) == ["first"]


def test_functions_that_call_each_other_end():
    def even(x):
        return odd(x) + data

    def odd(x):
        return even(x)

    data = jnp.zeros(3)
    assert names(even) == ["data"]


def test_what_is_bound_is_no_constant():
    assert names(filter_jit(model())) == []
    assert names(filter_jit(functools.partial(lambda a, b: a + b, jnp.zeros(3)))) == []


def test_arrays_of_an_object_that_is_no_pytree_are_constants():
    class Trainer:
        def __init__(self) -> None:
            self.data = jnp.zeros(3)

        @filter_jit
        def step(self, x: Array) -> Array:
            return x + self.data

    assert names(Trainer().step) == ["Trainer.data"]


def test_globals_that_are_no_pytrees_do_no_harm():
    odd = {1: jnp.zeros(2), "a": jnp.zeros(2)}

    def fn(x):
        return x + odd[1]

    assert names(fn) == []


# ------------------------------------------------------------------------------------------- call path


def test_only_what_is_jitted_has_a_call_path():
    assert explain(loss).path is None
    assert explain(filter_vmap(loss)).path is None


def test_the_call_path_is_direct_where_annotations_say_everything():
    assert explain(smooth).path == ("direct", "every argument is an array or static by its annotation")


def test_the_call_path_is_by_type_where_classes_decide():
    @filter_jit
    def fn(x, n): ...

    reason = "the classes of `x`, `n` decide: the signature does not say that they hold arrays only"
    assert explain(fn).path == ("by type", reason)
    reason = "the classes of `x`, `n` decide, one look-up a call"
    assert explain(fn, jnp.zeros(2), 3).path == ("by type", reason)


def test_the_call_path_is_split_where_arrays_and_other_leaves_are_mixed():
    @filter_jit
    def fn(x, model): ...

    fix = "a pytree_dataclass with arrays, and Static fields for the rest, is not taken apart"
    reason = f"`model` may mix arrays with other leaves: {fix}"
    assert explain(fn, jnp.zeros(2), [jnp.zeros(2), "a"]).path == ("split", reason)
    assert str(explain(fn, jnp.zeros(2), [jnp.zeros(2), "a"])).count(f"call path: split ({reason})") == 1


class Checked:
    """A node whose constructor takes nothing but arrays."""

    def __init__(self, w):
        if not isinstance(w, jax.Array):
            raise TypeError("no array")
        self.w = w


jax.tree_util.register_pytree_node(Checked, lambda node: ((node.w,), None), lambda _, w: Checked(*w))


@pytest.mark.parametrize("around", [lambda f: f, lambda f: filter_jit(filter_vmap(f))], ids=["jit", "vmap"])
def test_a_class_that_takes_arrays_only_is_explained(around):
    f = around(filter_jit(lambda tree, n: tree["node"].w * n))
    explained = explain(f, {"node": Checked(jnp.ones((2, 3))), "name": "a"}, jnp.ones(2))
    (row,) = [leaf for leaf in explained.leaves or () if "node" in leaf.path]
    assert row.effects == (("traced",) if len(row.effects) == 1 else ("traced", "axis 0", "traced"))
