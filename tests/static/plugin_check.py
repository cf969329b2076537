"""What only the mypy plugin knows: read by mypy with the plugin alone. Executed as well: see test_static."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, overload

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Num
from typing_extensions import Self, TypeVar, assert_type

from typedfilter import (
    Diff,
    Donate,
    NoDiff,
    ScanAxis,
    Static,
    Traced,
    VmapAxis,
    filter_checkpoint,
    filter_grad,
    filter_hessian,
    filter_jacfwd,
    filter_jacrev,
    filter_jit,
    filter_scan,
    filter_value_and_grad,
    filter_vmap,
    pytree_dataclass,
)

T = TypeVar("T")
X = jnp.arange(3.0)
Names = Static[tuple[str, ...]]


# Bare axes are exact.


@filter_vmap
def columns(
    x: VmapAxis[1],
    y: VmapAxis[None, Float[Array, " n"]],
    z: VmapAxis[-1] | None = None,
    w: VmapAxis[dict[str, Array], 0] | None = None,
    v: Donate[VmapAxis[0]] | None = None,
) -> VmapAxis[0]:
    assert_type(x, Array)
    assert_type(y, Array)
    assert_type(z, Array | None)
    assert_type(w, dict[str, Array] | None)
    assert_type(v, Array | None)
    return x


def accepted_axes() -> None:
    assert_type(columns(jnp.ones((4, 3)), X), Array)


def rejected_axes() -> None:
    columns("x", X)  # type: ignore[arg-type]
    columns(X, X, None, X)  # type: ignore[arg-type]


class RejectedAxes:
    a: VmapAxis["a"]  # type: ignore[typedfilter]
    b: VmapAxis[1.5]  # type: ignore[typedfilter]
    c: VmapAxis[True]  # type: ignore[typedfilter]
    d: VmapAxis[Array]  # type: ignore[typedfilter]
    e: VmapAxis[1, 2]  # type: ignore[typedfilter]
    f: VmapAxis[1, Array, 2]  # type: ignore[typedfilter]
    g: Annotated[Array, VmapAxis["a"]]  # type: ignore[typedfilter]


def scanned(carry: Array, x: ScanAxis[1]) -> tuple[Array, ScanAxis[-1, dict[str, Array]]]:
    assert_type(x, Array)
    return carry + x.sum(), {"x": x}


def accepted_scan_axes() -> None:
    assert_type(filter_scan(scanned, X, jnp.ones((4, 3))), tuple[Array, dict[str, Array]])


class RejectedScanAxes:
    a: ScanAxis["a"]  # type: ignore[typedfilter]
    b: Annotated[Array, ScanAxis["a"]]  # type: ignore[typedfilter]
    c: ScanAxis[1, Static[int]]  # type: ignore[typedfilter]
    d: ScanAxis[0, ScanAxis[1]]  # type: ignore[typedfilter]
    e: Annotated[VmapAxis[0], ScanAxis[1]]
    f: ScanAxis[0, float]


# Partials.


def scaled(w: dict[str, Array], x: Array, scale: float = 1.0) -> Array:
    return w["a"] @ x * scale


@functools.partial(filter_jit, donate="none")
def by_partial(x: Array, n: Static[int] = 2) -> Array:
    return x * n


def accepted_partials() -> None:
    assert_type(by_partial(X, n=3), Array)
    assert_type(by_partial.lower(X).compile()(X), Array)
    assert_type(filter_grad(functools.partial(scaled, scale=2.0))({"a": X}, X), dict[str, Array])
    assert_type(functools.partial(scaled, scale=2.0)({"a": X}, X), Array)


def rejected_partials() -> None:
    by_partial("x")  # type: ignore[arg-type]
    filter_grad(functools.partial(scaled, scale=2.0))(X, X)  # type: ignore[arg-type]


# Contradictions.


class RejectedAnnotations:
    a: Donate[Static[int]]  # type: ignore[typedfilter]
    b: Donate[Names]  # type: ignore[typedfilter]
    c: Static[Traced[int]]  # type: ignore[typedfilter]
    d: Diff[Static[float]]  # type: ignore[typedfilter]
    e: Diff[NoDiff[Array]]  # type: ignore[typedfilter]
    f: VmapAxis[1, Static[int]]  # type: ignore[typedfilter]
    g: Annotated[Static[int], VmapAxis[1]]  # type: ignore[typedfilter]
    h: Static[Annotated[int, VmapAxis[1]]]  # type: ignore[typedfilter]
    i: VmapAxis[0, VmapAxis[1]]  # type: ignore[typedfilter]
    j: Annotated[VmapAxis[0], VmapAxis[1]]  # type: ignore[typedfilter]
    k: Static[Float[Array, ""]]  # type: ignore[typedfilter]
    ll: Static[list[int]]  # type: ignore[typedfilter]
    m: Float[Donate[Array], " n"]  # type: ignore[typedfilter]
    n: Donate[int]  # type: ignore[typedfilter]
    o: Diff[int]  # type: ignore[typedfilter]
    p: VmapAxis[1, int]  # type: ignore[typedfilter]
    q: Traced[str]  # type: ignore[typedfilter]


class Pair(NamedTuple):
    first: Array
    second: Array


class Color(enum.Enum):
    RED = 1


class RejectedByType:
    aa: Annotated[int, VmapAxis[0]]  # type: ignore[typedfilter]
    ab: Annotated[int, "a note", Donate[Array]]  # type: ignore[typedfilter]
    ac: Annotated[Array, Static[int]]  # type: ignore[typedfilter]
    ad: Static[tuple[Array, ...]]  # type: ignore[typedfilter]
    ae: Static[tuple[int, Array]]  # type: ignore[typedfilter]
    af: Static[Array | None]  # type: ignore[typedfilter]
    ag: Static[Pair]  # type: ignore[typedfilter]
    ah: NoDiff[Static[np.ndarray[Any, Any]]]  # type: ignore[typedfilter]
    ai: Donate[int | None]  # type: ignore[typedfilter]
    aj: Donate[None]  # type: ignore[typedfilter]
    ak: Donate[type[int]]  # type: ignore[typedfilter]
    al: Diff[Literal[1]]  # type: ignore[typedfilter]
    am: Diff[int | None]  # type: ignore[typedfilter]
    an: Diff[Traced[int]]  # type: ignore[typedfilter]
    ao: Diff[Int[Array, " n"]]  # type: ignore[typedfilter]
    ap: Diff[Donate[Bool[Array, " n"] | None]]  # type: ignore[typedfilter]
    aq: VmapAxis[1, Literal[1]]  # type: ignore[typedfilter]
    ar: VmapAxis[1, Color]  # type: ignore[typedfilter]
    au: Traced[None]  # type: ignore[typedfilter]
    av: Traced[str | None]  # type: ignore[typedfilter]
    aw: Traced[Literal["a"]]  # type: ignore[typedfilter]
    ax: list[Static[int]]  # type: ignore[typedfilter]
    ay: dict[str, Donate[Array]]  # type: ignore[typedfilter]
    az: tuple[Static[int], ...]  # type: ignore[typedfilter]


class AcceptedAnnotations:
    a: Donate[Diff[VmapAxis[1, Float[Array, " n"]]]]
    b: Annotated[Donate[Diff[Array]], VmapAxis[1], "a note"]
    c: NoDiff[Static[int]]
    d: VmapAxis[None, Static[int]]
    e: Donate[Traced[float]]
    f: Static[tuple[int, str]]
    g: Static[Callable[[Array], Array]]
    aa: Annotated[int, VmapAxis[None]]
    ab: Static[Array | int]
    ac: Static[tuple[()]]
    ad: Donate[Array | int]
    ae: Diff[Int[Array, " n"] | Float[Array, " n"]]
    af: Diff[Num[Array, " n"]]
    ag: Diff[Traced[float]]
    ah: Traced[Literal[1]]
    ai: Traced[int | None]
    aj: Static[int] | None
    ak: Donate[list[Array] | None]
    al: Diff[list[Array]]


# Gradients of what is marked.


def loss(x: Int[Array, " n"], w: Diff[dict[str, Array]], *, b: Static[int] = 2) -> Float[Array, ""]:
    return (w["a"] * x).sum() * b


def loss_of_two(x: str, w: Diff[dict[str, Array]], b: Diff[Float[Array, ""]]) -> Float[Array, ""]:
    return w["a"].sum() * b


def loss_with_aux(x: str, w: Diff[Array]) -> tuple[Array, str]:
    return w.sum(), x


@filter_grad(has_aux=True)
def decorated(x: str, w: Diff[Array], b: Diff[dict[str, Array]]) -> tuple[Array, str]:
    return w.sum() + b["a"].sum(), x


@filter_jit
@filter_value_and_grad
def compiled(x: str, w: Diff[dict[str, Array]]) -> Array:
    return w["a"].sum()


def accepted_gradients() -> None:
    w, b = {"a": X}, jnp.float32(2.0) + 0
    assert_type(filter_grad(loss)(jnp.arange(3), w), dict[str, Array])
    assert_type(filter_grad(loss)(x=jnp.arange(3), w=w, b=3), dict[str, Array])
    assert_type(filter_value_and_grad(loss)(jnp.arange(3), w), tuple[Array, dict[str, Array]])
    assert_type(filter_grad(loss_of_two)("x", w, b), tuple[dict[str, Array], Array])
    assert_type(filter_value_and_grad(loss_of_two)("x", w, b), tuple[Array, tuple[dict[str, Array], Array]])
    assert_type(filter_grad(loss_with_aux, has_aux=True)("x", X), tuple[Array, str])
    assert_type(filter_value_and_grad(loss_with_aux, has_aux=True)("x", X), tuple[tuple[Array, str], Array])
    assert_type(decorated("x", X, w), tuple[tuple[Array, dict[str, Array]], str])
    assert_type(compiled("x", w), tuple[Array, dict[str, Array]])
    assert_type(compiled.lower("x", w).compile()("x", w), tuple[Array, dict[str, Array]])


@filter_jacfwd(has_aux=True)
def jacobian(x: str, w: Diff[Array]) -> tuple[dict[str, Array], str]:
    return {"a": w * 2}, x


Weights = Donate[Diff[dict[str, Array]]]


@pytree_dataclass
class Scaler:
    scale: Array

    @filter_grad
    def pull(self, x: Array, w: Weights) -> Array:
        return (w["a"] * x * self.scale).sum()


def accepted_marked_otherwise() -> None:
    def annotated(x: str, w: Annotated[Diff[Array], "a note"]) -> Array:
        return w.sum()

    def axis(x: str, w: VmapAxis[0, Diff[Array]]) -> Array:
        return w.sum()

    def optional(x: str, w: Diff[Array] | None = None) -> Array:
        return X.sum() if w is None else w.sum()

    assert_type(Scaler(X).pull(X, {"a": X}), dict[str, Array])
    assert_type(filter_grad(annotated)("x", X), Array)
    assert_type(filter_grad(axis)("x", X), Array)
    assert_type(filter_grad(optional)("x", X), Array | None)


def accepted_jacobians() -> None:
    def product(x: str, w: Diff[dict[str, Array]]) -> Array:
        return w["a"] * 2

    def curved(x: str, w: Diff[Array]) -> Array:
        return w @ w

    assert_type(jacobian("x", X), tuple[dict[str, Array], str])
    assert_type(filter_jacrev(product)("x", {"a": X}), dict[str, Array])
    assert_type(filter_hessian(curved)("x", X), Array)


class Outcome(NamedTuple):
    loss: Array
    label: str


def named(w: Array) -> Outcome:
    return Outcome(w.sum(), "a")


def energy(xs: Sequence[Array], scale: float = 1.0) -> Array:
    return xs[0].sum() * scale


def accepted_in_context() -> None:
    def options(**options: Any) -> None:
        print(filter_value_and_grad(named, **options)(X))

    of_lists: Callable[[list[Array]], list[Array]] = filter_grad(energy)
    with_value: Callable[[list[Array]], tuple[Array, list[Array]]] = filter_value_and_grad(energy)
    print(of_lists([X]), with_value([X]))
    assert_type(filter_grad(energy)(xs=[X]), Sequence[Array])
    assert_type(filter_value_and_grad(named, has_aux=True)(X), tuple[tuple[Array, str], Array])
    assert_type(filter_grad(named, has_aux=True)(X), tuple[Array, str])
    options(has_aux=True)
    print(filter_jacfwd(lambda x: {"a": x})(X), filter_jacrev(lambda x: ([x], 1), has_aux=True)(X))


def rejected_gradients() -> None:
    wrong: Array = filter_grad(loss)(jnp.arange(3), {"a": X})  # type: ignore[assignment]
    filter_grad(loss)(jnp.arange(3), X)  # type: ignore[arg-type]
    compiled(X, X)  # type: ignore[arg-type]
    filter_value_and_grad(named, has_aux=True)(X)[0].label  # type: ignore[attr-defined]
    of_tuples: Callable[[tuple[Array]], list[Array]] = filter_grad(energy)  # type: ignore[assignment]
    print(wrong, of_tuples)


# Overloads, methods, and what a jitted callable can do.


@overload
def double(x: Array) -> Array: ...
@overload
def double(x: str) -> str: ...
def double(x: Any) -> Any:
    return x + x


@pytree_dataclass
class Model:
    weight: Float[Array, " n"]

    @filter_jit
    def apply(self, x: Float[Array, " n"]) -> Float[Array, ""]:
        return self.weight @ x

    @filter_jit
    def positional(self, x: Array, /) -> Self:
        return type(self)(x)

    @filter_jit(inline=True)
    def nameless(this, x: T) -> T:
        return x

    @filter_jit
    @filter_grad
    def pull(self, x: Float[Array, " n"]) -> Float[Array, ""]:
        return self.weight @ x


class Small(Model):
    @filter_jit
    def apply(self, x: Float[Array, " n"]) -> Float[Array, ""]:
        return super().apply(x) / 2


def accepted_functions(gradual: Callable[..., Array] = loss) -> None:
    assert_type(filter_jit(double)("a"), str)
    assert_type(filter_jit(double)(X), Array)
    assert_type(filter_jit(filter_vmap(double))(X), Array)
    assert_type(filter_checkpoint(double)(X), Array)
    assert_type(filter_jit(gradual)(jnp.arange(3), {"a": X}), Array)
    model = Model(X)
    assert_type(model.apply(X), Array)
    assert_type(model.apply.lower(X).compile()(X), Array)
    assert_type(model.positional(X), Model)
    assert_type(model.nameless("a"), str)
    assert_type(model.pull(X), Model)
    assert_type(model.pull.lower(X).compile()(X), Model)
    model.apply.clear_cache()


def rejected_functions(model: Model) -> None:
    filter_jit(double)(3)  # type: ignore[call-overload]
    model.apply("x")  # type: ignore[arg-type]
    model.apply.lowre(X)  # type: ignore[attr-defined]
    model.positional(x=X)  # type: ignore[call-arg]
    model.apply.lower(X).compile()("x")  # type: ignore[arg-type]


if __name__ == "__main__":
    accepted_axes()
    accepted_scan_axes()
    accepted_partials()
    accepted_gradients()
    accepted_marked_otherwise()
    accepted_jacobians()
    accepted_in_context()
    accepted_functions()
