"""What every transform returns: the fields, signature, repr, copies and pickles of the function it wraps."""

from __future__ import annotations

import abc
import collections
import copy
import functools
import inspect
import pickle
import pydoc
from typing import Annotated, Any

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from jax import Array
from jaxtyping import Float, TypeCheckError, jaxtyped

from typedfilter import (
    Donate,
    NoDiff,
    Static,
    Traced,
    VmapAxis,
    filter_checkpoint,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_make_jaxpr,
    filter_pmap,
    filter_value_and_grad,
    filter_vmap,
)

SCALAR = [filter_grad, filter_value_and_grad]
TRANSFORMS = [
    *SCALAR,
    filter_jit,
    filter_vmap,
    filter_pmap,
    filter_jacfwd,
    filter_jacrev,
    filter_hessian,
    filter_checkpoint,
    filter_make_jaxpr,
    filter_custom_jvp,
    filter_custom_vjp,
]
WITH_OPTIONS = [
    (filter_jit, {"donate": "all", "inline": True}, "donate='all', inline=True"),
    (filter_grad, {"has_aux": True}, "has_aux=True"),
    (filter_value_and_grad, {"has_aux": True}, "has_aux=True"),
    (filter_vmap, {"in_axes": (1,), "axis_name": "i"}, "in_axes=(1,), axis_name='i'"),
    (filter_pmap, {"axis_size": 2, "donate": "warn"}, "axis_size=2, donate='warn'"),
    (filter_jacfwd, {"has_aux": True}, "has_aux=True"),
    (filter_checkpoint, {"prevent_cse": False}, "prevent_cse=False"),
    (filter_make_jaxpr, {"check": False}, "check=False"),
]
RULES = [filter_custom_jvp, filter_custom_vjp]  # are given to one wrapper, so no two are equal
every = pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform.__name__)
without_rules = pytest.mark.parametrize(
    "transform", [t for t in TRANSFORMS if t not in RULES], ids=lambda transform: transform.__name__
)


def square(x, y=2.0):
    """The square of x."""
    return jnp.sum(x**y)


vars(square)["note"] = "kept"


@filter_jit
def decorated(x):
    return x + 1


class Scale:
    """A callable pytree."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return jnp.sum(self.factor * x)


jax.tree_util.register_pytree_node(Scale, lambda s: ((s.factor,), None), lambda _, children: Scale(*children))


# Fields, signature, repr ---------------------------------------------------------------------------------


@every
def test_it_has_the_fields_that_update_wrapper_copies(transform):
    wrapper = transform(square)
    for name in functools.WRAPPER_ASSIGNMENTS:
        if hasattr(square, name):
            assert getattr(wrapper, name) == getattr(square, name)
    assert wrapper.__wrapped__ is square
    assert wrapper.note == "kept"


@every
def test_its_docstring_is_that_of_the_function_wherever_it_goes(transform):
    def without(x):
        return x

    class Owner:
        @transform
        def method(self, x):
            """What the method does."""
            return x

    assert transform(without).__doc__ is None
    assert inspect.getdoc(transform(without)) is None
    for wrapper in (Owner().method, Owner.method, jax.tree.map(lambda leaf: leaf, Owner.method)):
        assert wrapper.__doc__ == "What the method does."
    documented = transform(without)
    documented.__doc__ = "Said later."
    assert documented.__doc__ == "Said later."


@every
def test_abstractmethod_stands_above_and_below_it(transform):
    class Base(abc.ABC):
        @abc.abstractmethod
        @transform
        def above(self, x): ...

        @transform
        @abc.abstractmethod
        def below(self, x): ...

    class Half(Base):
        def above(self, x):
            return x

    class Whole(Half):
        @transform
        def below(self, x):
            return x

    assert Base.__abstractmethods__ == {"above", "below"}
    assert Half.__abstractmethods__ == {"below"}
    assert Whole().above(1) == 1


@every
def test_its_annotations_are_those_of_the_function_whoever_asks_its_class_first(transform):
    def half(x: Float[Array, ""]) -> Float[Array, ""]:
        return x / 2

    made = transform(half)
    bound = made.__get__(object())
    before = [inspect.get_annotations(one) for one in (made, bound)]
    for cls in (type(made), type(bound)):
        assert cls.__annotations__ == {}  # Python makes a dictionary, which instances would find
    assert [inspect.get_annotations(one) for one in (made, bound)] == before


@every
def test_its_parameters_are_those_of_the_function(transform):
    parameters = inspect.signature(transform(square)).parameters
    assert str(inspect.Signature(list(parameters.values()))) == "(x, y=2.0)"
    assert inspect.unwrap(transform(square)) is square


@every
def test_its_repr_is_the_call_that_made_it(transform):
    assert repr(transform(square)) == f"{transform.__name__}(square)"
    assert repr(transform(transform(square))) == f"{transform.__name__}({transform.__name__}(square))"


@pytest.mark.parametrize(
    ("transform", "options", "text"), WITH_OPTIONS, ids=lambda value: getattr(value, "__name__", "")
)
def test_its_repr_names_the_options_that_are_not_the_default(transform, options, text):
    assert repr(transform(square, **options)) == f"{transform.__name__}(square, {text})"


@every
def test_a_callable_without_a_name_is_shown_by_its_repr(transform):
    scale = Scale(2.0)
    assert repr(transform(scale)) == f"{transform.__name__}({scale!r})"


@every
def test_builtins_and_partials_can_be_wrapped(transform):
    assert callable(transform(max))
    assert "square" in repr(transform(functools.partial(square, y=3.0)))


@every
def test_an_unknown_attribute_names_the_wrapper(transform):
    with pytest.raises(AttributeError) as caught:
        transform(square).no_such_attribute
    assert str(caught.value) == f"{transform.__name__}(square) has no attribute 'no_such_attribute'"


@without_rules
def test_it_can_be_a_key(transform):
    table = {transform(square): 1}
    assert table[transform(square)] == 1
    assert transform(square) != transform(lambda x: x)


@every
def test_it_takes_attributes_as_a_function_does(transform):
    wrapper = transform(square)
    wrapper.note = "mine"
    assert wrapper.note == "mine"
    assert vars(square)["note"] == "kept"


# Copies and pickles --------------------------------------------------------------------------------------


@every
def test_it_pickles_where_the_function_does(transform):
    wrapper = pickle.loads(pickle.dumps(transform(square)))
    assert transform in RULES or wrapper == transform(square)
    assert repr(wrapper) == f"{transform.__name__}(square)"
    assert wrapper.__name__ == "square"
    assert list(inspect.signature(wrapper).parameters) == ["x", "y"]


@pytest.mark.parametrize(
    ("transform", "options", "text"), WITH_OPTIONS, ids=lambda value: getattr(value, "__name__", "")
)
def test_its_options_pickle(transform, options, text):
    wrapper = transform(square, **options)
    assert pickle.loads(pickle.dumps(wrapper)) == wrapper


def test_a_decorated_function_pickles_by_its_name():
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    assert copy.deepcopy(decorated) is decorated


@pytest.mark.parametrize("transform", [filter_jit, filter_vmap, filter_grad, filter_checkpoint])
def test_a_pickled_wrapper_computes_the_same(transform):
    x = jnp.arange(1.0, 4.0)
    for fn in (square, Scale(jnp.ones(3) if transform is not filter_vmap else 2.0)):
        wrapper = transform(fn)
        copied = pickle.loads(pickle.dumps(wrapper))
        np.testing.assert_allclose(copied(x), wrapper(x), rtol=1e-6)


def square_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return square(x), jnp.sum(7 * t)


def test_custom_rules_pickle_and_copy_along():
    wrapper = filter_custom_jvp(square)
    wrapper.def_jvp(square_jvp)
    for copied in (wrapper, pickle.loads(pickle.dumps(wrapper)), copy.deepcopy(wrapper)):
        assert jnp.array_equal(filter_grad(copied)(jnp.ones(3)), jnp.full(3, 7.0))


def test_a_lambda_pickles_with_cloudpickle():
    wrapper = cloudpickle.loads(cloudpickle.dumps(filter_jit(lambda x: x + 1)))
    assert wrapper(1.0) == 2.0


@without_rules
def test_copies_are_equal_to_it(transform):
    wrapper = transform(square)
    assert copy.copy(wrapper) == wrapper
    assert copy.deepcopy(wrapper) == wrapper


def test_a_deep_copy_has_its_own_module():
    wrapper: Any = filter_jit(Scale(jnp.ones(3)))
    copied = copy.deepcopy(wrapper)
    assert copied.__wrapped__ is not wrapper.__wrapped__
    assert copied.__wrapped__.factor is not wrapper.__wrapped__.factor
    assert copied(jnp.ones(3)) == wrapper(jnp.ones(3))


def test_a_bound_method_pickles_and_copies():
    bound = Model(jnp.ones(3)).total
    for copied in (pickle.loads(pickle.dumps(bound)), copy.deepcopy(bound)):
        assert copied(jnp.ones(3)) == bound(jnp.ones(3))
        assert copied.__self__ is not bound.__self__


class Model:
    def __init__(self, weight):
        self.weight = weight

    @filter_jit
    def total(self, x):
        return jnp.sum(self.weight * x)

    @filter_jit
    @staticmethod
    def halve(x):
        return x / 2

    @staticmethod
    @filter_jit
    def double(x):
        return x * 2

    @filter_jit
    @classmethod
    def name(cls, x):
        return cls.__name__, x

    @classmethod
    @filter_jit
    def other_name(cls, x):
        return cls.__name__, x


jax.tree_util.register_pytree_node(Model, lambda m: ((m.weight,), None), lambda _, children: Model(*children))


# Methods -----------------------------------------------------------------------------------------------


def test_it_binds_like_a_function():
    model = Model(jnp.arange(3.0))
    assert model.total(jnp.ones(3)) == Model.total(model, jnp.ones(3)) == 3.0
    assert repr(model.total) == "<bound filter_jit(Model.total) of Model object>"
    assert list(inspect.signature(model.total).parameters) == ["x"]
    assert model.total == model.total
    assert hash(model.total) == hash(model.total)
    assert model.total != Model(jnp.arange(3.0)).total


def test_a_method_is_lowered_and_compiled_without_its_receiver():
    model = Model(jnp.arange(3.0))
    assert model.total.lower(jnp.ones(3)).compile()(jnp.ones(3)) == 3.0
    assert len(model.total.trace(jnp.ones(3)).jaxpr.in_avals) == 2
    assert model.total.eval_shape(jnp.ones(3)).shape == ()


def test_static_and_class_methods_bind_inside_and_outside():
    for holder in (Model, Model(1.0)):
        assert holder.halve(4.0) == 2.0
        assert holder.double(4.0) == 8.0
        assert holder.name(4.0) == ("Model", 4.0)
        assert holder.other_name(4.0) == ("Model", 4.0)


@every
def test_every_wrapper_binds(transform):
    class Holder:
        method = transform(lambda self, x: jnp.sum(x))

    assert Holder().method.__self__ is not None
    assert list(inspect.signature(Holder().method).parameters) == ["x"]


# As pytrees ---------------------------------------------------------------------------------------------


@every
def test_the_arrays_of_a_module_are_its_leaves(transform):
    factor = jnp.ones(3)
    wrapper = transform(Scale(factor))
    leaves, treedef = jax.tree_util.tree_flatten(wrapper)
    assert [id(leaf) for leaf in leaves] == [id(factor)]
    assert treedef.unflatten([2.0]).__wrapped__.factor == 2.0
    assert transform in RULES or jax.tree_util.tree_structure(transform(Scale(factor))) == treedef


@every
def test_it_survives_what_jax_puts_in_the_place_of_leaves(transform):
    treedef = jax.tree_util.tree_structure(transform(square))
    for placeholder in (None, object(), 0, (1, 2)):
        assert treedef.unflatten([placeholder]).__wrapped__ is placeholder


# jaxtyped around a wrapper --------------------------------------------------------------------------------

typed = jaxtyped(typechecker=beartype)


def loss(w: Float[Array, "n"], x: Float[Array, "n"]) -> Float[Array, ""]:
    return jnp.sum((w * x) ** 2)


W, X = jnp.arange(3.0), jnp.ones(3)


@pytest.mark.parametrize(
    "transform",
    [t for t in TRANSFORMS if t not in (filter_vmap, filter_pmap, *RULES)],
    ids=lambda transform: transform.__name__,
)
def test_jaxtyped_goes_around_every_wrapper(transform):
    expected = transform(loss)(W, X)
    got = typed(transform(loss))(W, X)
    assert jax.tree_util.tree_structure(got) == jax.tree_util.tree_structure(expected)
    with pytest.raises(TypeCheckError):
        typed(transform(loss))(W, jnp.ones(4))


@pytest.mark.parametrize("transform", [filter_vmap, filter_pmap])
def test_jaxtyped_goes_around_a_map_whose_arguments_have_one_more_axis(transform):
    out = typed(transform(loss))(jnp.stack([W, W]), jnp.stack([X, X]))
    assert out.shape == (2,)


def test_jaxtyped_goes_around_custom_rules():
    jvp = filter_custom_jvp(loss)
    jvp.def_jvp(lambda primals, tangents: (loss(*primals), jnp.array(0.0)))
    vjp = filter_custom_vjp(loss)
    vjp.def_fwd(lambda perturbed, w, x: (loss(w, x), None))
    vjp.def_bwd(lambda residuals, g, perturbed, w, x: w)
    for wrapper in (jvp, vjp):
        assert typed(wrapper)(W, X) == loss(W, X)
        with pytest.raises(TypeCheckError):
            typed(wrapper)(W, jnp.ones(4))


@pytest.mark.parametrize(
    "fn",
    [jax.jit(square), functools.partial(square, y=2.0), Scale(1.0), jnp.sum, Model(1.0).total],
    ids=["jax.jit", "partial", "module", "jnp", "bound"],
)
def test_jaxtyped_goes_around_a_wrapper_of_any_callable(fn):
    assert typed(filter_jit(fn))(X).shape == fn(X).shape


def test_jaxtyped_as_a_decorator_on_methods():
    class Net:
        @typed
        @filter_jit
        def __call__(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
            return x * 2

    assert Net()(X).shape == (3,)
    with pytest.raises(TypeCheckError):
        Net()(jnp.ones((3, 3)))


def test_markers_are_transparent_to_jaxtyped():
    def f(w: NoDiff[Float[Array, "n"]], x: VmapAxis[0, Float[Array, "n"]]) -> Float[Array, ""]:
        return jnp.sum(w * x)

    assert typed(filter_jit(f))(W, X) == 3.0
    with pytest.raises(TypeCheckError):
        typed(filter_jit(f))(W, jnp.ones(4))


# ------------------------------------------------------------------------------------------------- options


CONTAINERS: dict[str, Any] = {
    "a dictionary": (lambda: {"x": 0}, lambda axes: axes.update(x=1)),
    "a list": (lambda: [0], lambda axes: axes.__setitem__(0, 1)),
    "a dictionary in a tuple": (lambda: ({"a": 0},), lambda axes: axes[0].update(a=1)),
    "another dictionary": (
        lambda: collections.OrderedDict(x={"a": 0}),
        lambda axes: axes["x"].update(a=1),
    ),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_an_option_that_is_changed_later_stays_as_it_was_given(kind):
    def f(x):
        return jax.tree.leaves(x)[0]

    make, change = CONTAINERS[kind]
    x = {"a": jnp.ones((2, 3))}
    axes = make()
    before = filter_vmap(f, in_axes=axes)
    assert hash(before) == hash(filter_vmap(f, in_axes=make()))
    change(axes)
    assert before(x).shape == filter_jit(before)(x).shape == (2, 3)
    assert filter_jit(filter_vmap(f, in_axes=axes))(x).shape == (3, 2)
    assert filter_jit(filter_vmap(f, in_axes=make()))(x).shape == (2, 3)
    assert repr(before) == repr(filter_vmap(f, in_axes=make()))


def test_a_dictionary_of_options_keeps_its_order():
    assert "in_axes={'y': 0, 'x': 1}" in repr(filter_vmap(lambda x, y: x, in_axes={"y": 0, "x": 1}))


def test_options_that_differ_in_the_type_of_a_value_are_shown():
    assert repr(filter_jit(print, inline=0)) == "filter_jit(print, inline=0)"
    assert repr(filter_jit(print, inline=False)) == "filter_jit(print)"


def test_a_method_that_takes_anything_shows_so_when_it_is_bound():
    class Any_:
        @filter_jit
        def method(*args, n=1):
            return args[1] * n

    assert str(inspect.signature(Any_().method)) == "(*args, n=1)"
    assert Any_().method(2, n=3) == 6


def test_methods_of_equal_instances_are_not_equal():
    class Equal:
        def __eq__(self, other):
            return isinstance(other, Equal)

        def __hash__(self):
            return 1

        @filter_jit
        def method(self, x):
            return x

    one, two = Equal(), Equal()
    assert one == two
    assert one.method != two.method
    assert one.method == one.method
    assert len({one.method, two.method, one.method}) == 2


# Help ------------------------------------------------------------------------------------------------------


class Shown:
    @filter_jit
    def step(self, x: Float[Array, "b n"], n: Static[int] = 2, *, rate: Traced[float]) -> Float[Array, "b"]:
        """Take a step."""
        return x[:, 0] * n * rate

    @filter_vmap
    def each(self, x: Annotated[Float[Array, "n"], VmapAxis[1]]) -> Array: ...


@filter_jit
def shown(x: Donate[dict[str, Array]], axis: VmapAxis[None, int] = 0) -> tuple[Array, ...]:
    """Show."""
    return (*x.values(),)


def test_a_signature_prints_annotations_as_they_were_written():
    assert str(inspect.signature(shown)) == (
        "(x: Donate[dict[str, Array]], axis: VmapAxis[None, int] = 0) -> tuple[Array, ...]"
    )
    assert str(inspect.signature(Shown().step)) == (
        "(x: Float[Array, 'b n'], n: Static[int] = 2, *, rate: Traced[float]) -> Float[Array, 'b']"
    )


def test_a_signature_that_prints_as_written_holds_the_types_themselves():
    def evaluated(x):
        return x

    evaluated.__annotations__ = {"x": Donate[dict[str, Array]], "return": Float[Array, "n"]}
    signature = inspect.signature(filter_jit(evaluated))
    assert str(signature) == "(x: Donate[dict[str, Array]]) -> Float[Array, 'n']"
    assert signature.parameters["x"].annotation == Donate[dict[str, Array]]
    assert signature == inspect.signature(evaluated)


def test_help_shows_a_wrapper_as_the_function_that_it_is():
    told = pydoc.plain(pydoc.render_doc(Shown))
    assert (
        "step(self, x: Float[Array, 'b n'], n: Static[int] = 2, *, rate: Traced[float]) -> Float[Array, 'b']"
    ) in told
    assert "Take a step." in told
    bound = pydoc.plain(pydoc.render_doc(Shown().step)).splitlines()
    assert (
        bound[2]
        == "step(x: Float[Array, 'b n'], n: Static[int] = 2, *, rate: Traced[float]) -> Float[Array, 'b']"
    )
    assert bound[3] == "    Take a step."


@pytest.mark.parametrize("wrapper", [shown, Shown.step, Shown().step, Shown().each])
def test_nothing_of_our_own_completes(wrapper: Any):
    offered = [name for name in dir(wrapper) if not name.startswith("__")]
    assert set(offered) <= {"clear_cache", "eval_shape", "lower", "trace"}


def test_a_bound_wrapper_stored_on_a_class_stays_bound():
    first = Shown()

    class Other:
        step = first.step

    assert Other().step.__self__ is first
