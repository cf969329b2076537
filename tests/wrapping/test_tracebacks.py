"""Tracebacks: an error ends at the user's line; no frame of the package is between two of the user's."""

from __future__ import annotations

import dataclasses
import inspect
import pdb
import subprocess
import sys
import textwrap
import threading
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
    Static,
    filter_checkpoint,
    filter_cond,
    filter_custom_jvp,
    filter_custom_vjp,
    filter_eval_shape,
    filter_grad,
    filter_hessian,
    filter_jit,
    filter_jvp,
    filter_linearize,
    filter_make_jaxpr,
    filter_pmap,
    filter_pure_callback,
    filter_scan,
    filter_vjp,
    filter_vmap,
    filter_while_loop,
)
from typedfilter.errors import ShapeError

X = jnp.ones(3)


def raised_by(call: Callable[[], Any]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def frames(error: BaseException) -> list[str]:
    """The functions in a traceback without this module's catcher; those in another file with its name."""
    found = traceback.extract_tb(error.__traceback__)[1:]
    return [f.name if f.filename == __file__ else f"{f.filename}: {f.name}" for f in found]


def fails(x, *_: Any):
    raise KeyError("body")


def deeper(x):
    return fails(x)


def asks(x):
    return x if x.sum() > 0 else -x


def typed(x: Float[Array, "n"], y: Float[Array, "n"], n: Static[int] = 2) -> Float[Array, "n"]:
    return x * n + y


def ruled_jvp():
    fn = filter_custom_jvp(lambda x: x)
    fn.def_jvp(lambda primals, tangents: fails(primals))
    return fn


def ruled_vjp():
    fn = filter_custom_vjp(lambda x: x)
    fn.def_fwd(lambda perturbed, x: fails(x))
    fn.def_bwd(lambda *args: None)
    return fn


class Model:
    @filter_jit
    def step(self, x):
        return fails(x)


BODIES: dict[str, Callable[[], Any]] = {
    "jit": lambda: filter_jit(fails)(X),
    "jit, by type": lambda: filter_jit(fails)(X, 1, "s"),
    "jit of grad of vmap": lambda: filter_jit(filter_grad(filter_vmap(fails)))(X),
    "jit of jit": lambda: filter_jit(filter_jit(fails))(X),
    "grad": lambda: filter_grad(fails)(X),
    "vmap": lambda: filter_vmap(fails)(X),
    "pmap": lambda: filter_pmap(fails)(X[:1]),
    "checkpoint": lambda: filter_checkpoint(fails)(X),
    "hessian": lambda: filter_hessian(fails)(X),
    "jvp": lambda: filter_jvp(fails, (X,), (X,)),
    "vjp": lambda: filter_vjp(fails, X),
    "linearize": lambda: filter_linearize(fails, X),
    "eval_shape": lambda: filter_eval_shape(fails, X),
    "make_jaxpr": lambda: filter_make_jaxpr(fails)(X),
    "custom_jvp": lambda: filter_jvp(ruled_jvp(), (X,), (X,)),
    "custom_vjp": lambda: filter_grad(lambda x: ruled_vjp()(x).sum())(X),
    "scan": lambda: filter_scan(fails, X, X),
    "while_loop": lambda: filter_while_loop(fails, fails, X),
    "cond": lambda: filter_cond(True, fails, fails, X),
    "lower": lambda: filter_jit(fails).lower(X),
    "a method": lambda: Model().step(X),
}


OURS: dict[str, Callable[[], Any]] = {
    "a wrong shape": lambda: filter_jit(typed)(X, X[:2]),
    "a missing argument": lambda: filter_jit(typed)(X),
    "an argument too many": lambda: filter_vmap(typed)(X, X, X, X, X),
    "an unhashable static": lambda: filter_jit(typed)(X, X, [1]),
    "a batch that disagrees": lambda: filter_vmap(typed)(X[None], jnp.ones((2, 3))),
    "no scalar": lambda: filter_grad(lambda x: x)(X),
    "no sequence": lambda: filter_jvp(fails, 1, 2),
    "a contradiction": lambda: filter_jit(donate="all of it")(fails),
    "ahead of time": lambda: filter_jit(typed).lower(X, X[:2]),
    "another static": lambda: filter_jit(typed).lower(X, X, 2).compile()(X, X, 3),
    "no rule": lambda: filter_custom_jvp(lambda x: x)(X),
    "a carry that changes": lambda: filter_while_loop(lambda x: x, lambda x: x, X),
    "a callback": lambda: filter_pure_callback(fails, X, vmap_method="?", result_shape_dtypes=X),
}


@pytest.mark.parametrize("call", BODIES)
def test_an_error_of_the_body_shows_lines_of_the_user_only(call):
    error = raised_by(BODIES[call])
    assert isinstance(error, KeyError)
    assert frames(error)[-1] == "fails"
    assert {name for name in frames(error) if ": " in name} == set()


@pytest.mark.parametrize("call", OURS)
def test_an_error_about_the_call_ends_at_the_call(call):
    assert frames(raised_by(OURS[call])) == ["<lambda>"]


def test_an_error_of_jax_in_the_body_ends_at_the_line_that_asked():
    error = raised_by(lambda: filter_jit(filter_vmap(asks))(jnp.ones((2, 3))))
    assert isinstance(error, jax.errors.TracerBoolConversionError)
    assert frames(error) == ["<lambda>", "asks"]


def test_every_public_transform_ends_errors_at_its_caller():
    functions = [getattr(typedfilter, name) for name in typedfilter.__all__ if name.startswith("filter_")]
    assert functions
    assert [
        fn.__name__ for fn in functions if inspect.isfunction(fn) and not hasattr(fn, "__wrapped__")
    ] == []


def test_all_frames_are_there_with_traceback_filtering_off(monkeypatch):
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "off")
    try:
        shown = "".join(traceback.format_exception(raised_by(BODIES["jit"])))
    finally:
        jax.config.update("jax_traceback_filtering", before)
    assert "traced.py" in shown
    assert "pjit.py" in shown


def test_causes_and_groups_arrive_with_the_lines_that_raised_them():
    @filter_jit
    def chained(x):
        try:
            fails(x)
        except KeyError as error:
            raise ValueError("outer") from error

    @filter_jit
    def grouped(x):
        raise ExceptionGroup("several", [raised_by(lambda: filter_vmap(fails)(x))])

    error = raised_by(lambda: chained(X))
    assert frames(error) == ["<lambda>", "chained"]
    assert [f.name for f in traceback.extract_tb(error.__cause__.__traceback__)] == ["chained", "fails"]
    group = raised_by(lambda: grouped(X))
    assert isinstance(group, ExceptionGroup)
    assert frames(group) == ["<lambda>", "grouped"]
    assert frames(group.exceptions[0]) == ["<lambda>", "fails"]


def test_an_error_that_is_raised_instead_hides_what_it_was_raised_for():
    error = raised_by(OURS["an unhashable static"])
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_interrupts_end_at_the_line_too():
    @filter_jit
    def stopped(x):
        raise KeyboardInterrupt

    assert frames(raised_by(lambda: stopped(X))) == ["<lambda>", "stopped"]


def test_a_debugger_opens_where_the_user_raised():
    error = raised_by(BODIES["jit of grad of vmap"])
    debugger = pdb.Pdb()
    stack, index = debugger.get_stack(None, error.__traceback__)
    assert stack[index][0].f_code is fails.__code__


def test_threads_and_generators_see_the_same_lines():
    found: list[list[str]] = []

    def generator():
        try:
            filter_jit(fails)(X)
        except KeyError:
            info = sys.exc_info()[1]
            yield [f.name for f in traceback.extract_tb(info.__traceback__)]

    thread = threading.Thread(target=lambda: found.append(frames(raised_by(BODIES["jit"]))))
    thread.start()
    thread.join()
    assert found == [["<lambda>", "fails"]]
    assert next(generator()) == ["generator", "fails"]


# ----------------------------------------------------------------------------- where JAX says a function is


def place(fn: Callable[..., Any]) -> str:
    return f"{fn.__name__} at {fn.__code__.co_filename}:{fn.__code__.co_firstlineno}"


def test_jax_names_the_file_and_the_line_of_the_users_function():
    assert f"while tracing the function {place(asks)} for jit" in str(raised_by(lambda: filter_jit(asks)(X)))


@pytest.mark.parametrize(
    "transform", [filter_vmap, filter_checkpoint, lambda fn: filter_grad(lambda x: fn(x).sum())]
)
def test_jax_names_it_in_a_stack_too(transform):
    @filter_jit
    @transform
    def asked(x):
        if x.sum() > 0:
            return x
        return -x

    text = str(raised_by(lambda: asked(X)))
    assert __file__ in text
    assert "_compiling" not in text


def test_the_place_of_a_function_is_the_same_in_every_process(tmp_path: Path):
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import jax, jax.numpy as jnp
            from typedfilter import filter_jit

            def f(x):
                return jnp.sin(x) * 2

            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
            jax.config.update("jax_compilation_cache_dir", "cache")
            filter_jit(f)(jnp.ones(3))
            """
        )
    )
    written: list[set[str]] = []
    for _ in range(2):
        subprocess.run([sys.executable, "program.py"], cwd=tmp_path, check=True, timeout=120)
        cached = (tmp_path / "cache").iterdir()
        written.append({path.name for path in cached if path.name.startswith("jit_f-")})
    assert len({name.removesuffix("-cache").removesuffix("-atime") for name in written[0]}) == 1
    assert written[0] == written[1]


def test_a_wrong_shape_takes_few_lines():
    error = raised_by(OURS["a wrong shape"])
    assert isinstance(error, ShapeError)
    assert len("".join(traceback.format_exception(error)).splitlines()) <= 15


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """An error on which nothing can be set, by Python code."""

    code: int


class Refusing:
    def __hash__(self) -> int:
        raise Frozen(3)


def test_an_error_that_lets_nothing_be_set_arrives_as_itself():
    error = raised_by(lambda: filter_jit(lambda x, static: x)(X, Refusing()))
    assert error == Frozen(3)  # JAX had no part in it: that sets attributes of errors, too
    assert frames(error) == ["<lambda>", "__hash__"]
