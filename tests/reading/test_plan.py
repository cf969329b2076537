"""Callables of every kind become plans, once, and nothing is kept alive by it."""

# Signatures are all that matters here.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import functools
import gc
import inspect
import operator
import sys
import types
import weakref
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol, TypedDict

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from jax import Array
from jax.sharding import PartitionSpec
from jaxtyping import Float, Int, jaxtyped
from typing_extensions import Unpack

import typedfilter as tf
from typedfilter._reading.conflicts import check_grad, check_jit, check_vmap
from typedfilter._reading.hints import Hint
from typedfilter._reading.plan import Param, Plan, plan_of
from typedfilter._reading.roles import Role
from typedfilter.annotations import AxisSpec, Diff, Donate, NoDiff, Static, Traced
from typedfilter.errors import AnnotationError
from typedfilter.pytree import pytree_dataclass
from typedfilter.vmap_axis import VmapAxis

if TYPE_CHECKING:
    # None of these exists when this runs, or not yet.
    from decimal import Decimal as OnlyForCheckers

    Later = Array
    DefinedLater = Array
    Steps = Static[int]
    Elsewhere = NeverDefined = NotDefined = int

EMPTY = Parameter.empty


def layout(plan: Plan) -> list[str]:
    """Each parameter as text: stars, name, what it is, default."""
    stars = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**", Parameter.KEYWORD_ONLY: "kw "}
    ends = {Parameter.POSITIONAL_ONLY: " /"}
    return [
        f"{stars.get(p.kind, '')}{p.name}{ends.get(p.kind, '')}: {p.hint.role.value}"
        + ("" if p.default is EMPTY else f" = {p.default!r}")
        for p in plan.params
    ]


def roles(fn: Any) -> dict[str, Role]:
    return {param.name: param.hint.role for param in plan_of(fn).params}


def hint(fn: Any, name: str) -> Hint:
    return next(param.hint for param in plan_of(fn).params if param.name == name)


# --- kinds of callable ----------------------------------------------------------------------------------


def everything(
    a: Donate[Array],
    /,
    b: Static[int],
    c=2,
    *rest: Float[Array, ""],
    d: Traced[float],
    e: int = 5,
    **more: NoDiff[Any],
) -> Annotated[Array, VmapAxis[1]]:
    return a


EVERYTHING = [
    "a /: arrays",
    "b: static",
    "c: auto = 2",
    "*rest: arrays",
    "kw d: traced",
    "kw e: static = 5",
    "**more: auto",
]


class Owner:
    Size = Static[int]

    def method(self, x: Array, n: Size = 1) -> Array:
        return x

    @classmethod
    def klass(cls, x: Array, n: Static[int]) -> Array:
        return x

    @staticmethod
    def static(x: Array, n: Static[int]) -> Array:
        return x

    def __call__(self, x: Donate[Array]) -> Array:
        return x


class CalledStatically:
    @staticmethod
    def __call__(x: Donate[Array]) -> Array:
        return x


class Jitted:
    @tf.filter_jit
    def __call__(self, x: Donate[Array]) -> Array:
        return x

    @tf.filter_jit
    def method(self, n: Static[int]) -> int:
        return n


class Built:
    def __init__(self, x: Array, n: Static[int] = 1) -> None:
        pass


class BuiltByNew:
    def __new__(cls, x: Array, n: Static[int] = 1) -> Any:
        return object.__new__(cls)


@dataclasses.dataclass
class Record:
    x: Array
    n: Static[int] = 1
    start: dataclasses.InitVar[int] = 0


@pytree_dataclass
class Tree:
    x: Array
    n: Static[int] = 1


class Named(NamedTuple):
    x: Array
    n: Static[int] = 1


class Own(equinox.Module):
    x: Any
    n: int

    def __init__(self, n: Traced[int], x: Array) -> None:
        self.x = x
        self.n = n


def simple(x: Donate[Array], n: Static[int] = 1, *, k: Traced[float] = 1.0) -> Array:
    return x


@functools.wraps(simple)
def wrapping(*args: Any, **kwargs: Any) -> Any:
    return simple(*args, **kwargs)


@functools.wraps(simple)
def giving(x: Any) -> Any:
    return simple(x, 7)


@functools.wraps(simple)
def swapping(n: Any, x: Any, more: Any, *, k: float = 2.0) -> Any:
    return simple(x, n, k=k)


@functools.wraps(simple)
def passing_on(scale: Any, *args: Any, verbose: bool = False, **kwargs: Any) -> Any:
    return scale, simple(*args, **kwargs)


@functools.wraps(simple)
def by_place(x: Any, *args: Any) -> Any:
    return simple(x, *args)


@functools.wraps(simple)
def by_name(x: Any, **kwargs: Any) -> Any:
    return simple(x, **kwargs)


@functools.wraps(giving)
def twice(*args: Any, more: Any) -> Any:
    return giving(*args)


@functools.wraps(simple)
def taking_the_rest(x: Any, n: Any, k: Any, *rest: Any) -> Any:
    return simple(x, n, k=k)


@functools.wraps(tf.filter_jit(simple))
def around_a_transform(x: Any, more: Any) -> Any:
    return simple(x, more)


def by_hand(y: Traced[int], *args: Any, **kwargs: Any) -> Any:
    return y, simple(*args, **kwargs)


by_hand.__wrapped__ = simple


class Wrapping:
    def __init__(self) -> None:
        functools.update_wrapper(self, simple)

    def __call__(self, x: Any) -> Any:
        return simple(x)


@beartype
def beartyped(x: Donate[Array], n: Static[int] = 1, *, k: Traced[float] = 1.0) -> Any:
    return x


def of_beartyped(x: Any, *args: Any) -> Any:
    return beartyped(x, *args)


class InContext(contextlib.ContextDecorator):
    def __enter__(self) -> None: ...
    def __exit__(self, *_: Any) -> None: ...


BY_PLACE = ["x: auto", "*args: auto"]
SIMPLE = ["x: arrays", "n: static = 1", "kw k: traced = 1.0"]
BY_KEYWORD = ["x: arrays", "kw n: static = 3", SIMPLE[2]]
ANYTHING = ["*args: auto", "**kwargs: auto"]

CALLABLES: list[tuple[str, Any, str, list[str]]] = [
    ("a function", everything, "everything", EVERYTHING),
    ("a lambda", lambda x, *y: x, "<lambda>", ["x: auto", "*y: auto"]),
    ("a bound method", Owner().method, "Owner.method", ["x: arrays", "n: static = 1"]),
    ("an unbound method", Owner.method, "Owner.method", ["self: auto", "x: arrays", "n: static = 1"]),
    ("a class method", Owner.klass, "Owner.klass", ["x: arrays", "n: static"]),
    ("a class method object", vars(Owner)["klass"], "Owner.klass", ["cls: auto", "x: arrays", "n: static"]),
    ("a static method", Owner.static, "Owner.static", ["x: arrays", "n: static"]),
    ("a static method object", vars(Owner)["static"], "Owner.static", ["x: arrays", "n: static"]),
    ("a callable object", Owner(), "Owner.__call__", ["x: arrays"]),
    ("a statically callable object", CalledStatically(), "CalledStatically.__call__", ["x: arrays"]),
    ("an object with a transformed call", Jitted(), "Jitted.__call__", ["x: arrays"]),
    ("a transformed method", Jitted().method, "Jitted.method", ["n: static"]),
    ("a transformed function", tf.filter_jit(simple), "simple", SIMPLE),
    ("a twice transformed function", tf.filter_jit(tf.filter_vmap(simple)), "simple", SIMPLE),
    ("a jitted function", jax.jit(simple, static_argnames="n"), "simple", ANYTHING),
    ("a mapped function", jax.vmap(simple), "simple", ANYTHING),
    ("a vectorized function", jnp.vectorize(simple), "simple", ANYTHING),
    ("a function with a rule", jax.custom_jvp(simple), "simple", ANYTHING),
    ("a wrapper", wrapping, "simple", ANYTHING),
    ("a wrapper that gives an argument", giving, "simple", ["x: auto"]),
    (
        "a wrapper with another order",
        swapping,
        "simple",
        ["n: auto", "x: auto", "more: auto", "kw k: auto = 2.0"],
    ),
    (
        "a wrapper that takes more",
        passing_on,
        "simple",
        ["scale: auto", "*args: auto", "kw verbose: auto = False", "**kwargs: auto"],
    ),
    ("a wrapper that passes on by place", by_place, "simple", ["x: auto", "*args: auto"]),
    ("a wrapper that passes on by name", by_name, "simple", ["x: auto", "**kwargs: auto"]),
    ("a wrapper of a wrapper", twice, "simple", ["*args: auto", "kw more: auto"]),
    (
        "a wrapper with a rest of its own",
        taking_the_rest,
        "simple",
        ["x: auto", "n: auto", "k: auto", "*rest: auto"],
    ),
    ("a wrapper of a transform", around_a_transform, "simple", ["x: auto", "more: auto"]),
    ("a wrapper with annotations", by_hand, "by_hand", ["y: traced", "*args: auto", "**kwargs: auto"]),
    ("a wrapper that is an object", Wrapping(), "simple", ["x: auto"]),
    ("a wrapper of a checked function", functools.wraps(beartyped)(of_beartyped), "beartyped", BY_PLACE),
    ("a checked function of another kind", beartyped, "beartyped", SIMPLE),
    ("a function in a context", InContext()(simple), "simple", SIMPLE),
    ("a function with a name", jax.named_scope("simple")(simple), "simple", SIMPLE),
    ("a cached function", functools.lru_cache(simple), "simple", SIMPLE),
    ("a checked function", jaxtyped(typechecker=None)(simple), "simple", SIMPLE),
    ("a class with __init__", Built, "Built", ["x: arrays", "n: static = 1"]),
    ("a class with __new__", BuiltByNew, "BuiltByNew", ["x: arrays", "n: static = 1"]),
    ("a dataclass", Record, "Record", ["x: arrays", "n: static = 1", "start: static = 0"]),
    ("a pytree_dataclass", Tree, "Tree", ["x: arrays", "n: static = 1"]),
    ("a NamedTuple", Named, "Named", ["x: arrays", "n: static = 1"]),
    ("a module with its own __init__", Own, "Own", ["n: traced", "x: arrays"]),
    ("a partial", functools.partial(simple, 1), "simple", ["n: static = 1", "kw k: traced = 1.0"]),
    ("a partial of nothing", functools.partial(simple), "simple", SIMPLE),
    ("a partial by keyword", functools.partial(simple, n=3), "simple", BY_KEYWORD),
    (
        "a partial by the first keyword",
        functools.partial(simple, x=3),
        "simple",
        ["kw x: arrays = 3", "kw n: static = 1", SIMPLE[2]],
    ),
    ("a partial of one by name", functools.partial(simple, k=2), "simple", [*SIMPLE[:2], "kw k: traced = 2"]),
    (
        "a partial of a partial",
        functools.partial(functools.partial(simple, 1), n=3),
        "simple",
        ["kw n: static = 3", SIMPLE[2]],
    ),
    ("a pytree partial", jax.tree_util.Partial(simple, 1), "simple", ["n: static = 1", SIMPLE[2]]),
    (
        "a partial of a method",
        functools.partial(Owner().method, n=4),
        "Owner.method",
        ["x: arrays", "kw n: static = 4"],
    ),
    ("a partial of a class", functools.partial(Built, 1), "Built", ["n: static = 1"]),
    (
        "a partial of everything",
        functools.partial(everything, 1, 2, 3, 4, d=5, f=6),
        "everything",
        ["*rest: arrays", "kw d: traced = 5", "kw e: static = 5", "**more: auto"],
    ),
    (
        "a partial that closes the positions",
        functools.partial(everything, 1, c=0),
        "everything",
        ["b: static", "kw c: auto = 0", "kw d: traced", "kw e: static = 5", "**more: auto"],
    ),
    ("a jitted partial", tf.filter_jit(functools.partial(simple, n=3)), "simple", BY_KEYWORD),
    ("a builtin without a signature", max, "max", ANYTHING),
    ("a builtin class without a signature", dict, "dict", ANYTHING),
    ("a builtin with a signature", len, "len", ["obj /: auto"]),
    ("a method of a builtin", "".join, "str.join", ["iterable /: auto"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fn", "name", "params"), [row[1:] for row in CALLABLES], ids=[row[0] for row in CALLABLES]
)
def test_every_kind_of_callable_has_a_plan(fn: Any, name: str, params: list[str]):
    plan = plan_of(fn)
    assert (plan.function, layout(plan)) == (name, params)
    assert list(plan.signature.parameters) == [param.name for param in plan.params]
    assert plan.complete
    assert plan.has_signature or params == ANYTHING


def test_what_does_not_tell_its_signature_takes_anything():
    for fn in (max, operator.attrgetter("x"), int, np.frompyfunc(abs, 1, 1)):
        plan = plan_of(fn)
        if not plan.has_signature:  # which of them have one depends on the version
            assert layout(plan) == ANYTHING
            assert plan.positional(7).hint.why == "not annotated"
    assert not plan_of(max).has_signature


def test_a_class_returns_itself():
    assert plan_of(Tree).returns.type is Tree
    assert plan_of(Built).returns.why == "annotated Built"
    assert plan_of(Named).returns.role is Role.AUTO  # it has a static field
    assert plan_of(int).returns.annotated is False


def test_hints_of_a_plan_are_those_of_the_annotations():
    plan = plan_of(everything)
    assert plan.positional(0).hint.donate
    assert plan.positional(1).hint.static_marker
    assert plan.positional(2).hint.why == "not annotated"
    assert plan.keyword("x").hint.diff is False
    assert plan.returns.axis == AxisSpec(1)
    assert plan_of(Owner().method).returns.type is Array


def test_an_object_that_has_a_plan_gives_it():
    class Planned:
        def __typedfilter_plan__(self) -> Plan:
            return plan_of(simple)

        def __call__(self, *args: Any) -> Any: ...

    assert plan_of(Planned()) is plan_of(simple).as_written
    assert layout(plan_of(functools.partial(Planned(), 1))) == SIMPLE[1:]


def test_a_partial_that_binds_too_much_is_refused():
    with pytest.raises(AnnotationError) as e:
        plan_of(functools.partial(simple, 1, 2, 3))
    assert str(e.value) == (
        "simple(): takes 2 positional arguments, and the partial binds 3\n"
        "  fix: bind fewer"
    )  # fmt: skip


@pytest.mark.skipif(sys.version_info < (3, 14), reason="functools.Placeholder is new in Python 3.14")
def test_a_placeholder_of_a_partial_stays_open():
    hole = functools.Placeholder
    assert layout(plan_of(functools.partial(simple, hole, 2))) == ["x: arrays", SIMPLE[2]]


def test_what_is_not_callable_is_refused():
    with pytest.raises(
        TypeError, match=r"^'int' object is not callable\n  fix: pass the function itself, f,"
    ):
        plan_of(3)


# --- finding arguments ----------------------------------------------------------------------------------


def test_arguments_find_their_parameters():
    plan = plan_of(everything)
    assert [plan.positional(i).name for i in range(5)] == ["a", "b", "c", "rest", "rest"]
    assert [plan.keyword(name).name for name in ("b", "c", "d", "e", "zzz")] == ["b", "c", "d", "e", "more"]
    assert plan.keyword("a").name == "more"  # positional-only: as a keyword it is another argument
    assert plan.keyword("rest").name == "more"
    assert plan_of(simple).keyword("zzz") is None
    assert [p.name for p in plan.positionals] == ["a", "b", "c"]
    assert (plan.var_positional.name, plan.var_keyword.name) == ("rest", "more")
    assert (plan_of(simple).var_positional, plan_of(simple).var_keyword) == (None, None)
    assert [param.variadic for param in plan.params] == [False, False, False, True, False, False, True]


def test_arguments_that_do_not_fit_have_no_parameter_and_are_refused_by_python():
    plan = plan_of(simple)
    assert plan.arguments((1, 2, 3), {"y": 4})[2:] == [("args[0]", None, 3), ("y", None, 4)]
    with pytest.raises(TypeError, match=r"takes from 1 to 2 positional arguments but 3 were given"):
        tf.filter_checkpoint(simple)(1, 2, 3)
    with pytest.raises(TypeError, match=r"simple\(\) got multiple values for argument 'x'"):
        tf.filter_vmap(functools.partial(simple, x=1))(jnp.ones(2))


def test_an_argument_that_shares_its_name_with_a_positional_one_has_another_name_for_messages():
    def f(x, /, **rest): ...

    assert plan_of(f).arguments((1,), {"x": 2, "y": 3}) == [
        ("x", plan_of(f).params[0], 1),
        ("rest['x']", plan_of(f).params[1], 2),
        ("y", plan_of(f).params[1], 3),
    ]


def test_every_argument_of_a_call_has_a_name_for_messages():
    assert plan_of(everything).bind_names(5, ["d", "zzz"]) == [
        "a",
        "b",
        "c",
        "rest[0]",
        "rest[1]",
        "d",
        "zzz",
    ]
    assert plan_of(simple).bind_names(0) == []
    assert plan_of(max).bind_names(2) == ["args[0]", "args[1]"]


def test_parameters_marked_diff_are_found_in_order():
    def loss(a: Array, b: Diff[Array], *c: Diff[Array], d: Diff[Array], e: NoDiff[Array]) -> Array:
        return a

    assert [param.name for param in plan_of(loss).diff_params] == ["b", "c", "d"]


def test_a_plan_gains_and_loses_a_first_parameter():
    plan = plan_of(simple)
    more = plan.with_first("bound")
    assert layout(more) == ["bound /: auto", *SIMPLE]
    assert list(more.signature.parameters) == ["bound", "x", "n", "k"]
    assert layout(more.without_first()) == SIMPLE
    assert plan.without_first() is plan.without_first()

    def only_keywords(*args: Array, k: int) -> None: ...

    assert plan_of(only_keywords).without_first() is plan_of(only_keywords)


# --- names ----------------------------------------------------------------------------------------------


def defined_later(x: Donate[Later], n: Steps, y: Float[Array, ""]) -> Later:
    return x


def test_a_forward_reference_waits_for_its_name():
    globals().pop("Later", None)
    before = plan_of(defined_later)
    assert not before.complete
    assert [param.hint.unresolved for param in before.params] == [("Later",), ("Steps",), ()]
    assert before.params[0].hint.donate  # each parameter resolves on its own
    assert before.params[2].hint.role is Role.ARRAYS
    globals().update(Later=Array, Steps=Static[int])
    try:
        after = plan_of(defined_later)
        assert after.complete
        assert layout(after) == ["x: arrays", "n: static", "y: arrays"]
        assert after.returns.type is Array
        assert plan_of(defined_later) is after
    finally:
        del globals()["Later"], globals()["Steps"]


def test_a_name_for_checkers_only_stays_unknown():
    def f(x: Static[OnlyForCheckers], y: OnlyForCheckers, z: Array) -> OnlyForCheckers: ...

    plan = plan_of(f)
    assert layout(plan) == ["x: static", "y: auto", "z: arrays"]
    assert not plan.complete
    last = plan_of(f, final=True)
    assert last.params[1].hint.why == "name `OnlyForCheckers` not found"
    assert last.complete
    assert plan_of(f) is last


def test_aliases_of_the_enclosing_functions_are_seen():
    Outer = Static[int]

    def middle() -> Plan:
        Inner = Donate[Array]

        def f(x: Inner, n: Outer, k: int) -> Array: ...

        return plan_of(f)

    assert layout(middle()) == ["x: arrays", "n: static", "k: static"]


def test_aliases_of_the_class_body_are_seen_while_it_runs():
    plans: list[Plan] = []

    class Local:
        Size = Static[int]

        def method(self, n: Size) -> None: ...

        plans.append(plan_of(method))

    assert layout(plans[0]) == ["self: auto", "n: static"]
    assert layout(plan_of(Local().method)) == ["n: static"]


def test_aliases_of_the_class_are_seen_from_its_methods():
    assert hint(Owner.method, "n").static_marker
    assert hint(Owner().method, "n").static_marker

    class Local:
        Size = Static[int]

        def method(self, n: Size) -> None: ...

        @classmethod
        def klass(cls, n: Size) -> None: ...

    class Derived(Local):
        pass

    assert hint(Derived().method, "n").static_marker
    assert hint(Derived.klass, "n").static_marker


def test_names_that_the_body_closes_over_are_seen_from_anywhere():
    def make() -> Any:
        Kind = Static[int]

        def f(n: Kind) -> Any:
            return Kind

        return f

    assert hint(make(), "n").static_marker


def test_a_local_alias_is_kept_until_other_names_are_known():
    def make() -> Any:
        Local = Static[int]
        Part = Array

        def f(n: Local, x: tuple[Part, DefinedLater]) -> None: ...

        assert not plan_of(f).complete
        return f

    f = make()
    globals()["DefinedLater"] = Array
    try:
        plan = plan_of(f)
    finally:
        del globals()["DefinedLater"]
    assert plan.complete
    assert layout(plan) == ["n: static", "x: arrays"]
    assert hint(f, "x").type == tuple[Array, Array]


def test_a_local_name_is_not_taken_from_another_function():
    def other() -> Plan:
        Elsewhere = Static[int]
        assert Elsewhere is not None
        return plan_of(f)

    def f(n: Elsewhere) -> None: ...

    assert other().params[0].hint.unresolved == ("Elsewhere",)


def test_annotations_are_read_where_the_function_is_defined_that_a_wrapper_hands_on_to():
    library: dict[str, Any] = {"Alias": Donate[Array]}
    exec("def inner(x: 'Alias'): ...", library)
    here = functools.cache(jax.named_scope("here")(library["inner"]))
    assert hint(here, "x").donate


def test_inherited_fields_are_read_where_they_are_written(monkeypatch: pytest.MonkeyPatch):
    library = types.ModuleType("library")
    monkeypatch.setitem(sys.modules, "library", library)
    exec(
        "from __future__ import annotations\nimport dataclasses\n"
        "@dataclasses.dataclass\nclass Base:\n    n: Alias\n",
        vars(library) | {"Alias": Static[int], "__name__": "library"},
        vars(library),
    )
    vars(library)["Alias"] = Static[int]

    @dataclasses.dataclass
    class Derived(vars(library)["Base"]):
        x: Donate[Array] | None = None

    assert layout(plan_of(Derived)) == ["n: static", "x: arrays = None"]


def test_unpacked_options_are_decided_by_the_rule():
    class Options(TypedDict, total=False):
        n: int
        x: Array

    def f(*args: *tuple[Array, int], **options: Unpack[Options]) -> None: ...

    assert layout(plan_of(f)) == ["*args: auto", "**options: auto"]


# --- once, and nothing kept alive -----------------------------------------------------------------------


def test_a_plan_is_made_once():
    assert plan_of(simple) is plan_of(simple)
    assert plan_of(Owner().method) is plan_of(Owner().method)
    assert plan_of(Owner()) is plan_of(Owner())


def test_functions_that_are_equal_but_not_the_same_have_their_own_plans():
    def make(kind: Any) -> Any:
        def f(x: kind) -> Any:
            return kind

        return f

    assert (roles(make(Static[int])), roles(make(Array))) == ({"x": Role.STATIC}, {"x": Role.ARRAYS})


def dropped(make: Any) -> bool:
    ref = weakref.ref(make())
    gc.collect()
    return ref() is None


def test_a_plan_does_not_keep_its_function_alive():
    class Key:
        pass

    def closing() -> Any:
        data = jnp.ones(3)

        def f(x: Array, n: Static[int] = 1) -> Array:
            return x + data

        plan_of(f)
        return f

    def of_local_class() -> Any:
        class Node:
            def merge(self, other: Node) -> Node:
                return other

        plan_of(Node().merge)
        assert plan_of(Node.merge).complete
        return Node.merge

    def with_default() -> Any:
        key = Key()

        def f(x: Any = key) -> Any: ...

        key.f = f
        plan_of(f)
        return f

    def waiting() -> Any:
        def f(x: NeverDefined, n: Key) -> Any: ...

        plan_of(f)
        plan_of(f)
        return f

    def wrapped() -> Any:
        def f(x: Array) -> Any: ...

        plan_of(functools.wraps(f)(functools.partial(f)))
        plan_of(functools.partial(f, 1))
        return f

    for make in (closing, of_local_class, with_default, waiting, wrapped):
        assert dropped(make), make.__name__


def test_a_plan_that_is_used_is_shared_though_it_is_held_weakly():
    class Local:
        def method(self, other: Local) -> None: ...

    plan = plan_of(Local.method)
    assert plan_of(Local.method) is plan
    assert plan.params[1].hint.type is Local


# --- contradictions with a transform, and their absence -------------------------------------------------


class Model:
    pass


def loss_scalar(p: Model) -> Float[Array, ""]: ...
def loss_any(p: Model) -> Any: ...
def loss_bare(p): ...
def loss_float(p: Array) -> float: ...
def loss_array(p: Array) -> Array: ...
def loss_rank_free(p: Array) -> Float[Array, "..."]: ...
def loss_named_rank(p: Array) -> Float[Array, "*batch"]: ...
def loss_union(p: Array) -> Float[Array, "n"] | Float[Array, ""]: ...
def loss_later(p: Array) -> NotDefined: ...
def loss_second(n: int, p: Diff[Array]) -> Array: ...
def loss_frozen_first(n: NoDiff[Array], p: Diff[Array]) -> Array: ...
def loss_keyword(*, p: Array) -> Array: ...
def loss_args(*p: Array) -> Array: ...
def loss_optional(p: Array | None) -> Array | None: ...
def loss_of_model(p: Model) -> Model: ...
def loss_unit(p: Array) -> Annotated[Float[Array, ""], PartitionSpec()]: ...


@pytest.mark.parametrize(
    "fn", [value for name, value in list(globals().items()) if name.startswith("loss_")] + [max]
)
def test_what_may_be_a_scalar_loss_is_no_contradiction(fn: Any):
    check_grad(plan_of(fn), has_aux=False, name="filter_grad")


def pair_typed(p: Array) -> tuple[Float[Array, ""], dict[str, int]]: ...
def pair_any(p: Array) -> Any: ...
def pair_bare(p): ...
def pair_list(p: Array) -> list[Any]: ...
def pair_tuple(p: Array) -> tuple: ...
def pair_variadic(p: Array) -> tuple[Array, ...]: ...
def pair_named(p: Array) -> Named: ...
def pair_union(p: Array) -> tuple[Array, int] | tuple[Array, str]: ...
def pair_marked(p: Array) -> Annotated[tuple[Array, int], VmapAxis[0]]: ...


@pytest.mark.parametrize(
    "fn", [value for name, value in list(globals().items()) if name.startswith("pair_")] + [max]
)
def test_what_may_be_a_pair_is_no_contradiction(fn: Any):
    check_grad(plan_of(fn), has_aux=True, name="filter_grad")


def test_a_jacobian_needs_no_scalar():
    def vector(x: Float[Array, "n"]) -> Float[Array, "m"]: ...
    def pair(x: Float[Array, "n"]) -> tuple[Float[Array, "m"], int]: ...

    check_grad(plan_of(vector), has_aux=False, name="filter_jacfwd", scalar=False)
    check_grad(plan_of(pair), has_aux=False, name="filter_jacfwd", scalar=False)
    check_grad(plan_of(pair), has_aux=True, name="filter_jacfwd", scalar=False)
    with pytest.raises(AnnotationError, match="has_aux=True needs a pair"):
        check_grad(plan_of(vector), has_aux=True, name="filter_jacfwd", scalar=False)


def test_what_may_be_mapped_or_donated_is_no_contradiction():
    def constant(n: int) -> int: ...
    def mapped(n: int, x: Annotated[Any, VmapAxis[1]]) -> int: ...

    for fn in (simple, mapped, max, everything):
        check_vmap(plan_of(fn))
    check_vmap(plan_of(constant), axis_size=3)
    check_vmap(plan_of(constant), in_axes=True)
    check_jit(plan_of(constant))
    for donate in ("all", "warn", "all-except-first", "warn-except-first"):
        check_jit(plan_of(lambda x, y: x), donate)
        check_jit(plan_of(lambda: 1), donate)


def test_a_result_takes_an_axis_and_a_sharding():
    def f(x: Array) -> Annotated[Array, VmapAxis[1], PartitionSpec("x")]: ...

    returns = plan_of(f).returns
    assert (returns.axis, returns.sharding) == (AxisSpec(1), PartitionSpec("x"))


def test_protocols_and_abstract_callables_have_plans():
    class Step(Protocol):
        def __call__(self, x: Donate[Array]) -> Array: ...

    assert roles(Step.__call__) == {"self": Role.AUTO, "x": Role.ARRAYS}
    assert hint(collections.abc.Callable.__call__, "args").role is Role.AUTO
    assert isinstance(plan_of(simple).params[0], Param)
    assert inspect.signature(simple) == plan_of(simple).signature


def test_a_module_of_another_library_has_a_plan():
    layer = equinox.nn.Linear(2, 3, key=jax.random.key(0))
    assert roles(layer) == {"x": Role.ARRAYS, "key": Role.ARRAYS}
    assert roles(equinox.nn.Linear)["in_features"] is Role.STATIC
    assert hint(layer, "x").type is Array
    assert roles(jax.nn.relu) == {"args": Role.AUTO, "kwargs": Role.AUTO}  # which wraps it
    assert roles(jnp.where)["condition"] is Role.AUTO or plan_of(jnp.where).has_signature


def integer_loss(n: Int[Array, ""], x: Diff[Float[Array, ""]]) -> Float[Array, ""]:
    return x


def test_an_integer_first_is_fine_where_something_else_is_marked():
    check_grad(plan_of(integer_loss), has_aux=False, name="filter_grad")
