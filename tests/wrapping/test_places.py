"""Places: JAX names lines of the user, and none of this package's, in jaxprs, programs, logs and profiles."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float

import typedfilter
from typedfilter import (
    ShapeError,
    Static,
    filter_checkpoint,
    filter_fori_loop,
    filter_grad,
    filter_hessian,
    filter_jit,
    filter_make_jaxpr,
    filter_scan,
    filter_vmap,
    testing,
)

X = jnp.ones(3)
PACKAGE = str(Path(typedfilter.__file__).parent)


def typed(x: Float[Array, "n"], n: Static[int] = 2) -> Float[Array, "n"]:
    return jnp.sin(x) * n


def loss(x):
    return typed(x).sum()


STACKS: dict[str, Callable[..., Any]] = {
    "jit": filter_jit(typed),
    "jit, by type": filter_jit(loss),
    "vmap": filter_vmap(lambda x: jnp.sin(x)),
    "grad": filter_grad(loss),
    "checkpoint": filter_checkpoint(loss),
    "hessian": filter_hessian(loss),
    "jit of vmap of grad": filter_jit(filter_vmap(filter_grad(lambda x: jnp.sin(x)))),
    "scan": lambda x: filter_scan(lambda carry, x: (carry + x, carry), 0.0, x),
    "fori_loop": lambda x: filter_fori_loop(0, 3, lambda i, x: x + 1, x),
}


@pytest.mark.parametrize("stack", STACKS)
def test_a_jaxpr_names_lines_of_the_user_only(stack):
    jaxpr = filter_make_jaxpr(STACKS[stack])(X)[0]
    shown = jaxpr.pretty_print(source_info=True)
    assert __file__ in shown
    assert PACKAGE not in shown
    assert "<typedfilter" not in shown


@pytest.mark.parametrize("stack", STACKS)
def test_a_program_names_lines_of_the_user_only(stack):
    shown = filter_jit(STACKS[stack]).lower(X).as_text(debug_info=True)
    assert __file__ in shown
    assert PACKAGE not in shown
    assert "<typedfilter" not in shown


def test_a_program_names_the_users_function():
    shown = filter_jit(typed).lower(X).as_text(debug_info=True)
    assert 'loc("jit(typed)/sin"' in shown
    assert "located" not in shown


class Scaling:
    @filter_jit
    def __call__(self, x):
        return x * 2

    @filter_jit
    def apply(self, x):
        return x * 2


@typedfilter.pytree_dataclass
class Model:
    scale: jax.Array

    def __call__(self, x):
        return self.scale * x


def test_a_program_of_a_callable_has_the_name_of_its_class():
    lowered = {
        "Model": filter_jit(Model(X)).lower(X),
        "Scaling": Scaling().__call__.lower(X),
        "apply": Scaling().apply.lower(X),
    }
    for name, program in lowered.items():
        assert program.as_text().startswith(f"module @jit_{name} ")


@pytest.mark.usefixtures("compiled_anew")  # of what it looked up, JAX tells as well
def test_jax_explains_a_cache_miss_by_the_line_that_calls(caplog):
    fn = filter_jit(typed)
    before = jax.config.jax_explain_cache_misses
    jax.config.update("jax_explain_cache_misses", True)
    try:
        with caplog.at_level(logging.WARNING):
            fn(jnp.ones(5))
            fn(jnp.ones(6))
    finally:
        jax.config.update("jax_explain_cache_misses", before)
    told = [record.getMessage() for record in caplog.records if "typed" in record.getMessage()]
    assert len(told) == 2
    for text in told:
        assert f"typed defined at {__file__}" in text
        assert PACKAGE not in text
        assert "<typedfilter" not in text


def test_what_is_left_in_a_traceback_pytest_leaves_out():
    fn = filter_jit(typed)
    fn(X)
    with pytest.raises(typedfilter.errors.RetraceError) as caught, testing.no_retrace():
        fn(jnp.ones(4))
    shown = [str(entry.path) for entry in caught.traceback.filter(caught)]
    assert shown
    assert not any(path.startswith(PACKAGE) for path in shown)


def test_with_traceback_filtering_off_pytest_leaves_nothing_out():
    fn = filter_jit(typed)
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "off")
    try:
        with pytest.raises(ShapeError) as caught:
            fn(jnp.ones((2, 3)))
        shown = [str(entry.path) for entry in caught.traceback.filter(caught)]
    finally:
        jax.config.update("jax_traceback_filtering", before)
    assert any(path.startswith(PACKAGE) for path in shown)


def test_an_error_of_ours_says_nothing_of_frames_left_out():
    with pytest.raises(ShapeError) as caught:
        filter_jit(typed)(jnp.ones((2, 3)))
    assert "JAX has removed" not in "".join(traceback.format_exception(caught.value))
