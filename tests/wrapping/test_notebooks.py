"""What a notebook or a prompt shows of wrappers, models and errors: in IPython itself, and in a browser."""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from jax import Array
from jaxtyping import Float

import typedfilter
from typedfilter import (
    Static,
    explain,
    filter_closure_convert,
    filter_grad,
    filter_jit,
    filter_vmap,
    log_retraces,
    pytree_dataclass,
)

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
    for fn in (filter_jit(scale), filter_grad(scale), filter_closure_convert(scale, X)):
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
import json
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
cells = [
    "import jax.numpy as jnp; from jax import Array; from jaxtyping import Float",
    "from typedfilter import Static, explain, filter_jit, pytree_dataclass",
    "@filter_jit\\ndef predict(x: Float[Array, 'n']) -> Float[Array, 'n']:\\n  'Doubles.'\\n  return 2 * x",
    "def inner(x):\\n    y = x + 1\\n    return predict(y)",
    "def outer(x):\\n    z = 2 * x\\n    return inner(z)",
    "@pytree_dataclass\\nclass Layer:\\n  weight: Float[Array, 'n']\\n  name: Static[str] = '<s>'",
    "@pytree_dataclass\\nclass Net:\\n  layers: tuple[Layer, ...]\\nnet = Net((Layer(jnp.ones(3)),) * 2)",
    "predict(jnp.ones((2, 3)))",
    "outer(jnp.ones((2, 3)))",
    "@filter_jit\\ndef f(x: Static[Float[Array, '']]): ...",
]
for cell in cells:
    shell.run_cell(cell)
    print("====")
shown = []
for text in ("net", "explain(filter_jit(lambda tree: tree), [net, net])"):
    shown.append(shell.display_formatter.format(shell.ev(text))[0]["text/html"])
print(json.dumps(shown))
told = shell.inspector.info(shell.user_ns["predict"], oname="predict")
print("====")
print(told["docstring"], told["definition"])
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each cell of an executed notebook shows; then the HTML of two results, and a function's help."""
    folder = str(tmp_path_factory.mktemp("ipython"))
    environment = {**os.environ, "IPYTHONDIR": folder, "JAX_PLATFORMS": "cpu", "NO_COLOR": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", SHELL],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout).split("====\n")


def test_in_ipython_errors_are_short_and_help_is_that_of_the_function(notebook: list[str]):
    *_, shape, deeper, annotation, _, told = notebook
    wrong = "ShapeError: predict(): argument `x` is f32[2,3], but Float[Array, 'n'] needs 1 axis"
    for shown, first in (
        (shape, wrong),
        (deeper, wrong),
        (annotation, "AnnotationError: f(): argument `x` is annotated Static[Float[Array, '']]"),
    ):
        lines = shown.strip().splitlines()
        assert len(lines) <= 15, shown
        assert any(line.startswith(first) for line in lines)
        assert str(PACKAGE) not in shown
    called = [line for line in deeper.splitlines() if line.startswith("--")][1:]
    assert [line.split(maxsplit=2)[2] for line in called] == [
        "outer(jnp.ones((2, 3)))",
        "return inner(z)",
        "return predict(y)",
    ]
    assert told.startswith("Doubles. predict(x: Float[Array, 'n'])")


# ----------------------------------------------------------------------------------------------- a browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
PAGE = """<!doctype html><meta charset="utf-8">
<style>:root{color-scheme:light dark} body{background:Canvas;color:CanvasText}
.jp-RenderedHTML td,.jp-RenderedHTML th{text-align:right}</style>
<body class="jp-RenderedHTML">%s<script>
const style = e => getComputedStyle(e), each = what => [...document.querySelectorAll(what)];
const inside = each('.typedfilter *').filter(e => e.tagName != 'STYLE');
const closed = each('details:not([open])'), before = document.body.scrollHeight;
const told = {
  dark: matchMedia('(prefers-color-scheme: dark)').matches,
  inherits: inside.every(e => style(e).color == style(document.body).color),
  behind: [...new Set(inside.map(e => style(e).backgroundColor))],
  align: [...new Set(each('td,th').map(e => style(e).textAlign))],
  struck: each('s').length,
  overflows: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  closed: closed.length,
};
closed.forEach(d => d.querySelector('summary').click());
told.opens = document.body.scrollHeight > before && closed.every(d => d.open);
document.body.textContent = JSON.stringify(told);
</script></body>"""


def rendered(page: Path, scheme: int) -> dict[str, Any]:
    """What a browser without a window measures of a page, in dark (0) or in light (1)."""
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=700,500"]
    command += [f"--user-data-dir={page.parent / str(scheme)}", "--dump-dom", page.as_uri()]
    command.insert(1, f"--blink-settings=preferredColorScheme={scheme}")
    dom = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    told: dict[str, Any] = json.loads(re.findall(r"<body[^>]*>(.*)</body>", dom, re.DOTALL)[0])
    return told


def test_what_a_notebook_shows_folds_and_takes_the_colours_of_its_page(notebook: list[str], tmp_path: Path):
    """Its structure everywhere; how a browser renders it, in dark and in light, where one is installed."""
    model, table = json.loads(notebook[-2])
    assert "<details open><summary>Net <small>6 parameters, 24 B</small></summary>" in model
    assert "<details><summary>[0]: Layer <small>3 parameters, 12 B</small></summary>" in model
    assert "<div>weight = f32[3]</div><div>name = &#x27;&lt;s&gt;&#x27;</div>" in model
    assert "<details open>" in table
    assert table.count("<table>") == table.count("</table>") >= 2
    assert "background" not in model + table
    if BROWSER is None:
        return
    page = tmp_path / "page.html"
    page.write_text(PAGE % (model + table))
    for scheme in (0, 1):
        told = rendered(page, scheme)
        assert told == {
            "dark": scheme == 0,
            "inherits": True,
            "behind": ["rgba(0, 0, 0, 0)"],
            "align": ["left"],
            "struck": 0,
            "overflows": False,
            "closed": (model + table).count("<details>"),
            "opens": True,
        }
