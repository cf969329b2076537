"""What a notebook or a prompt shows of wrappers and errors; in IPython itself, where that is installed."""

from __future__ import annotations

import functools
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float

import typedfilter
from typedfilter import Static, explain, filter_grad, filter_jit, filter_vmap, log_retraces, pytree_dataclass

X = jnp.ones(3)
PACKAGE = Path(str(typedfilter.__file__)).parent


def scale(x: Float[Array, "n"], n: Static[int] = 2) -> Float[Array, ""]:
    """Scales and sums."""
    return n * x.sum()


@pytree_dataclass
class Layer:
    """A layer."""

    weight: Float[Array, "n"]
    size: Static[int] = 1

    @filter_jit
    def apply(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        """Multiplies."""
        return self.weight * x


WRAPPERS = [
    filter_jit(scale),
    filter_grad(scale),
    filter_vmap(scale),
    filter_jit(filter_grad(scale)),
    filter_jit(functools.partial(scale, n=3)),
    Layer.apply,
]


@pytest.mark.parametrize(
    "wrapper", WRAPPERS, ids=["jit", "grad", "vmap", "jit of grad", "jit of a partial", "method"]
)
def test_neither_an_object_nor_its_class_offers_what_is_private(wrapper):
    """IPython lists the names of the class besides those of the object."""
    offered = {name for name in (*dir(wrapper), *dir(type(wrapper))) if not name.startswith("__")}
    assert offered <= {"clear_cache", "eval_shape", "lower", "trace"}


def test_parameters_print_one_by_one_as_they_were_written():
    """IPython puts a signature together from the texts of its parameters."""
    for fn in (filter_jit(scale), filter_grad(scale)):
        shown = [str(one) for one in inspect.signature(fn).parameters.values()]
        assert shown == ["x: Float[Array, 'n']", "n: Static[int] = 2"]
    made = [str(one) for one in inspect.signature(Layer).parameters.values()]
    assert made == ["weight: Float[Array, 'n']", "size: Static[int] = 1"]
    assert inspect.signature(filter_jit(scale)).parameters == inspect.signature(scale).parameters


def test_what_a_call_runs_has_the_signature_of_the_wrapper():
    """IPython shows the one beside the other, where they differ."""
    for fn in (filter_grad(scale), filter_vmap(scale), filter_jit(filter_grad(scale))):
        assert inspect.signature(fn.__call__) == inspect.signature(fn)


def test_a_partial_has_the_text_of_its_function():
    fn = filter_jit(functools.partial(functools.partial(scale), n=3))
    assert fn.__doc__ == "Scales and sums."
    assert (fn.__name__, fn.__module__) == ("scale", __name__)


def test_the_end_of_logging_says_what_it_is():
    undo = log_retraces()
    assert repr(undo) == "<log_retraces(): on; a call, or the end of a `with` block, ends it>"
    undo()
    assert repr(undo) == "<log_retraces(): ended; a call, or the end of a `with` block, ends it>"


def test_tables_keep_their_alignment_in_a_page_that_has_another():
    """The pages of Jupyter align cells to the right, by a rule that is more specific."""
    for shown in (explain(filter_jit(scale)), Layer(X)):
        assert "text-align:left!important" in shown._repr_html_()


# ----------------------------------------------------------------------------------------------- IPython

SHELL = """
import os, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
cells = [
    "import jax.numpy as jnp; from jax import Array; from jaxtyping import Float",
    "from typedfilter import Static, filter_jit",
    "@filter_jit\\ndef predict(x: Float[Array, 'n']) -> Float[Array, 'n']:\\n  'Doubles.'\\n  return 2 * x",
    "predict(jnp.ones((2, 3)))",
    "@filter_jit\\ndef f(x: Static[Float[Array, '']]): ...",
]
for cell in cells:
    shell.run_cell(cell)
    print("====")
told = shell.inspector.info(shell.user_ns["predict"], oname="predict")
print(told["docstring"], told["definition"])
"""


def test_in_ipython_errors_are_short_and_help_is_that_of_the_function(tmp_path: Path):
    pytest.importorskip("IPython")
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "JAX_PLATFORMS": "cpu", "NO_COLOR": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", SHELL],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    *_, shape, annotation, told = re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout).split("====\n")
    for shown, first in (
        (shape, "ShapeError: predict(): argument `x` is f32[2,3], but Float[Array, 'n'] needs 1 axis"),
        (annotation, "AnnotationError: f(): argument `x` is annotated Static[Float[Array, '']]"),
    ):
        lines = shown.strip().splitlines()
        assert len(lines) <= 15
        assert any(line.startswith(first) for line in lines)
        assert str(PACKAGE) not in shown
    assert told.startswith("Doubles. predict(x: Float[Array, 'n'])")
