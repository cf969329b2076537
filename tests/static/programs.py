"""Small programs by which the README compares libraries: `table.py` counts them.

A `kept_` program must be accepted, with the types that it asserts; a `caught_` program has one mistake, which
must be reported on its line and nowhere else. The imports between the two markers are replaced for other
libraries.
"""

# pyright: standard

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, overload

import jax.numpy as jnp
from jax import Array, ShapeDtypeStruct
from typing_extensions import Self, TypeVar, assert_type

# library
from typedfilter import Static
from typedfilter import filter_checkpoint as checkpoint
from typedfilter import filter_custom_jvp as custom_jvp
from typedfilter import filter_eval_shape as eval_shape
from typedfilter import filter_grad as grad
from typedfilter import filter_hessian as hessian
from typedfilter import filter_jacfwd as jacfwd
from typedfilter import filter_jacrev as jacrev
from typedfilter import filter_jit as jit
from typedfilter import filter_jvp as jvp
from typedfilter import filter_make_jaxpr as make_jaxpr
from typedfilter import filter_pure_callback as pure_callback
from typedfilter import filter_value_and_grad as value_and_grad
from typedfilter import filter_vjp as vjp
from typedfilter import filter_vmap as vmap

# end of library

T = TypeVar("T")
X = jnp.ones(3)


class Params:
    w: Array

    def __call__(self, x: Array) -> Array:
        return self.w @ x


def add(x: Array, y: Array = X) -> Array:
    return x + y


def scaled(x: Array, n: Static[int], *, name: str) -> tuple[Array, str]:
    return x * n, name


def loss(params: Params, x: Array) -> Array:
    return params(x)


def loss_aux(params: Params, x: Array) -> tuple[Array, str]:
    return params(x), "aux"


def identity(x: T) -> T:
    return x


# ---- compiled functions


def kept_jit_result() -> None:
    assert_type(jit(add)(X, X), Array)


def kept_jit_tuple_result() -> None:
    assert_type(jit(scaled)(X, 2, name="a"), tuple[Array, str])


def kept_jit_default_argument() -> None:
    assert_type(jit(add)(X), Array)


def kept_jit_keyword_argument() -> None:
    assert_type(jit(add)(y=X, x=X), Array)


def kept_jit_decorator() -> None:
    @jit
    def f(x: Array, *, n: Static[int] = 2) -> Array:
        return x * n

    assert_type(f(X, n=3), Array)


def kept_jit_generic_function() -> None:
    assert_type(jit(identity)("a"), str)


def kept_jit_variadic_function() -> None:
    def f(*xs: Array, **names: str) -> tuple[Array, dict[str, str]]:
        return xs[0], names

    assert_type(jit(f)(X, X, a="b"), tuple[Array, dict[str, str]])


def kept_jit_callable_object(params: Params) -> None:
    assert_type(jit(params)(X), Array)


def kept_jit_partial() -> None:
    assert_type(jit(partial(add, X))(), Array)


def kept_jit_overloaded_function() -> None:
    @overload
    def f(x: Array) -> Array: ...
    @overload
    def f(x: str) -> str: ...
    def f(x: Any) -> Any:
        return x

    assert_type(jit(f)("a"), str)


def kept_jit_nested() -> None:
    assert_type(jit(jit(add))(X, X), Array)


def kept_jit_as_callable() -> None:
    f: Callable[[Array], Array] = jit(add)
    assert_type(f(X), Array)


def kept_jit_unannotated_parameter() -> None:
    def f(x: Any, y: Array) -> Array:
        return y

    assert_type(jit(f)(1, X), Array)


def kept_jit_lower() -> None:
    print(jit(add).lower(X, X).as_text())


def kept_jit_compiled_result() -> None:
    assert_type(jit(add).lower(X, X).compile()(X, X), Array)


def kept_jit_lower_of_shapes() -> None:
    jit(add).lower(ShapeDtypeStruct((3,), "float32"), X)


def caught_jit_wrong_type() -> None:
    jit(add)("x")  # mistake


def caught_jit_wrong_keyword_type() -> None:
    jit(scaled)(X, 2, name=3)  # mistake


def caught_jit_unknown_keyword() -> None:
    jit(add)(X, z=X)  # mistake


def caught_jit_missing_argument() -> None:
    jit(scaled)(X, name="a")  # mistake


def caught_jit_too_many_arguments() -> None:
    jit(add)(X, X, X)  # mistake


def caught_jit_result_misused() -> None:
    text: str = jit(add)(X, X)  # mistake
    print(text)


def caught_jit_static_argument() -> None:
    jit(scaled)(X, 2.5, name="a")  # mistake


def caught_jit_misspelt_option() -> None:
    jit(add, inlined=True)  # mistake


def caught_jit_not_a_function() -> None:
    jit(X)  # mistake


def caught_jit_decorated_call() -> None:
    @jit
    def f(x: Array) -> Array:
        return x

    f(1, 2)  # mistake


def caught_jit_compiled_call() -> None:
    jit(add).lower(X, X).compile()("x")  # mistake


def caught_jit_unknown_attribute() -> None:
    jit(add).lowre(X)  # mistake


# ---- methods


class Model(Generic[T]):
    @jit
    def apply(self, x: Array, n: Static[int] = 1) -> Array:
        return x * n

    @jit
    def updated(self, x: Array) -> Self:
        return self

    @jit
    def positional(self, x: Array, /) -> Array:
        return x

    @jit
    def pick(self, x: T) -> T:
        return x

    @staticmethod
    @jit
    def static(x: Array) -> Array:
        return x

    @classmethod
    @jit
    def made(cls, n: int) -> Self:
        return cls()

    @property
    @jit
    def size(self) -> Array:
        return X

    @jit
    @grad
    def pull(self, x: Array) -> Array:
        return x


class Child(Model[str]):
    @jit
    def apply(self, x: Array, n: Static[int] = 1) -> Array:
        return super().apply(x, n)


def kept_method_call(model: Model[str]) -> None:
    assert_type(model.apply(X, n=2), Array)


def kept_method_self_type(model: Child) -> None:
    assert_type(model.updated(X), Child)


def kept_method_class_parameter(model: Model[str]) -> None:
    assert_type(model.pick("a"), str)


def kept_static_method(model: Model[str]) -> None:
    assert_type(model.static(X), Array)


def kept_class_method() -> None:
    assert_type(Child.made(3), Child)


def kept_property(model: Model[str]) -> None:
    assert_type(model.size, Array)


def kept_method_override(model: Child) -> None:
    assert_type(model.apply(X), Array)


def kept_method_positional_only(model: Model[str]) -> None:
    assert_type(model.positional(X), Array)


def kept_method_lower(model: Model[str]) -> None:
    assert_type(model.apply.lower(X).compile()(X), Array)


def kept_method_of_class(model: Model[str]) -> None:
    assert_type(Model.apply(model, X), Array)


def kept_bound_method(model: Model[str]) -> None:
    assert_type(jit(model.apply)(X), Array)


def kept_stacked_method(model: Model[str]) -> None:
    assert_type(model.pull(X), Model[str])


def caught_method_wrong_type(model: Model[str]) -> None:
    model.apply("x")  # mistake


def caught_method_missing_argument(model: Model[str]) -> None:
    model.updated()  # mistake


def caught_method_class_parameter(model: Model[str]) -> None:
    model.pick(3)  # mistake


def caught_static_method(model: Model[str]) -> None:
    model.static(X, X)  # mistake


def caught_class_method() -> None:
    Child.made("3")  # mistake


def caught_stacked_method(model: Model[str]) -> None:
    model.pull("x")  # mistake


# ---- gradients


def kept_grad(params: Params) -> None:
    assert_type(grad(loss)(params, X), Params)


def kept_grad_of_array() -> None:
    def f(x: Array) -> Array:
        return x @ x

    assert_type(X - 0.1 * grad(f)(X), Array)


def kept_grad_aux(params: Params) -> None:
    assert_type(grad(loss_aux, has_aux=True)(params, X), tuple[Params, str])


def kept_value_and_grad(params: Params) -> None:
    assert_type(value_and_grad(loss)(params, X), tuple[Array, Params])


def kept_value_and_grad_aux(params: Params) -> None:
    assert_type(value_and_grad(loss_aux, has_aux=True)(params, X), tuple[tuple[Array, str], Params])


def kept_jit_of_grad(params: Params) -> None:
    assert_type(jit(grad(loss))(params, X), Params)


def kept_jit_of_value_and_grad_decorated(params: Params) -> None:
    @jit
    @value_and_grad
    def step(params: Params, x: Array) -> Array:
        return params(x)

    assert_type(step(params, X), tuple[Array, Params])


def kept_grad_of_lambda() -> None:
    print(grad(lambda tree: tree["a"] @ tree["a"])({"a": X}))


def caught_grad_wrong_argument() -> None:
    grad(loss)(X, X)  # mistake


def caught_grad_missing_argument(params: Params) -> None:
    grad(loss)(params)  # mistake


def caught_grad_result_misused(params: Params) -> None:
    g: Array = grad(loss)(params, X)  # mistake
    print(g)


def caught_grad_forgotten_aux() -> None:
    grad(loss_aux)  # mistake


def caught_grad_superfluous_aux() -> None:
    grad(loss, has_aux=True)  # mistake


def caught_grad_of_text() -> None:
    def f(x: Array) -> str:
        return "a"

    grad(f)  # mistake


def caught_value_and_grad_order(params: Params) -> None:
    g, v = value_and_grad(loss)(params, X)
    print(g.w, v)  # mistake


# ---- maps and checkpoints


def kept_vmap() -> None:
    assert_type(vmap(scaled, in_axes=(0, None))(X, 2, name="a"), tuple[Array, str])


def kept_vmap_decorator() -> None:
    @vmap
    def f(x: Array) -> Array:
        return x

    assert_type(f(X), Array)


def kept_vmap_decorator_with_options() -> None:
    @vmap(in_axes=(0, None))
    def f(x: Array, y: Array) -> Array:
        return x + y

    assert_type(f(X, X), Array)


def kept_vmap_generic() -> None:
    assert_type(vmap(identity)(X), Array)


def kept_jit_of_vmap() -> None:
    assert_type(jit(vmap(add))(X, X), Array)


def kept_checkpoint() -> None:
    assert_type(checkpoint(add)(X, y=X), Array)


def caught_vmap_wrong_type() -> None:
    vmap(add)("x")  # mistake


def caught_vmap_too_many_arguments() -> None:
    vmap(add)(X, X, X)  # mistake


def caught_checkpoint_wrong_type() -> None:
    checkpoint(add)(X, 3j, 4)  # mistake


# ---- other derivatives, shapes, callbacks


def kept_vjp() -> None:
    out, pull = vjp(add, X, X)
    assert_type(pull(out), tuple[Array, Array])


def kept_vjp_aux(params: Params) -> None:
    out, pull, aux = vjp(loss_aux, params, X, has_aux=True)
    assert_type((out, aux), tuple[Array, str])


def kept_jvp(params: Params) -> None:
    assert_type(jvp(loss, (params, X), (params, X)), tuple[Array, Array])


def kept_jacobian() -> None:
    assert_type(jacfwd(add)(X, X), Array)


def kept_hessian() -> None:
    assert_type(hessian(add)(X), Array)


def kept_eval_shape() -> None:
    assert_type(eval_shape(add, X, X), ShapeDtypeStruct)


def kept_make_jaxpr() -> None:
    make_jaxpr(add)(ShapeDtypeStruct((3,), "float32"), X)


def kept_custom_rule() -> None:
    @custom_jvp
    def f(x: Array) -> Array:
        return x

    assert_type(f(X), Array)


def kept_pure_callback() -> None:
    assert_type(pure_callback(add, X, X, result_shape_dtypes=ShapeDtypeStruct((3,), "float32")), Array)


def caught_vjp_wrong_argument() -> None:
    vjp(loss, X, X)  # mistake


def caught_vjp_wrong_count() -> None:
    vjp(add, X, X, X)  # mistake


def caught_jvp_wrong_argument(params: Params) -> None:
    jvp(loss, (X, params), (X, params))  # mistake


def caught_jacobian_wrong_type() -> None:
    jacrev(add)("x")  # mistake


def caught_eval_shape_misused() -> None:
    a: Array = eval_shape(add, X, X)  # mistake
    print(a)


def caught_custom_call() -> None:
    @custom_jvp
    def f(x: Array) -> Array:
        return x

    f("x")  # mistake


def caught_custom_rule() -> None:
    @custom_jvp
    def f(x: Array) -> Array:
        return x

    def rule(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, str]:
        return primals[0], "x"

    f.def_jvp(rule)  # mistake
