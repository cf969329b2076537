"""Types of jaxtyping that are imported under `if TYPE_CHECKING` only, as linters ask for."""

from __future__ import annotations

import itertools
import json
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from typedfilter import explain, filter_eval_shape, filter_grad, filter_jit, filter_vmap

HEADER = """\
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Optional, Union
from jax import Array
from typedfilter import Diff, Donate, NoDiff, Static, Traced, VmapAxis
if TYPE_CHECKING:
    import jaxtyping
    import jaxtyping as jt
    from jaxtyping import Float, Int, PyTree, Shaped
"""
FORMS = (
    *(
        f"Float[Array, {json.dumps(dims)}]"
        for dims in ["b n", "", "*b n", "n+1", "#n", "n", "...", "2 _", "r=2 n"]
    ),
    "Float[Array | None, 'b n']",
    "Shaped[Float[Array, 'n'], 'b']",
    "jaxtyping.Float[Array, 'b n']",
    "jt.Int[jt.Array, 'b n']",
    "PyTree",
    "PyTree[Float[Array, 'b n']]",
    "PyTree[Float[Array, '?n'], 'T']",
)
X = jax.ShapeDtypeStruct((2, 3), "float32")
# What an annotation is inside of, and a value for it.
CONTAINERS: dict[str, Any] = {
    "{}": X,
    "{} | None": X,
    "Optional[{}]": None,
    "Union[int, {}]": X,
    "Annotated[{}, 'b n']": X,
    "list[{}]": [X, X],
    "Sequence[{}]": (X,),
    "dict[str, {}]": {"a": X},
    "Mapping[str, {}]": {"a": X},
    "tuple[{}, ...]": (X, X),
    "tuple[{}, Array]": (X, X),
    "list[tuple[{}, None]]": [(X, None)],
}
MARKERS = ("{}", "Traced[{}]", "Donate[{}]", "NoDiff[{}]", "Annotated[{}, VmapAxis[0]]")
# How the annotation is written, and what the file begins with.
SPELLINGS = {
    "from the future": ("{}", "from __future__ import annotations\n"),
    "from the future and quoted": ("{!r}", "from __future__ import annotations\n"),
    "quoted": ("{!r}", ""),
}


FORMS_IN_CONTAINERS = [
    (marker.format(container.format(form)), container.format(form), container)
    for (form, container), marker in zip(
        itertools.product(FORMS, CONTAINERS), itertools.cycle(MARKERS), strict=False
    )
]


def module_of(source: str, spelling: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    name = "imports_for_checkers_only"
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(SPELLINGS[spelling][1] + HEADER + source, name, "exec", dont_inherit=True), module.__dict__)
    return module


@pytest.fixture(params=SPELLINGS)
def spelling(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_they_say_nothing_of_arguments_and_results_and_the_marker_is_read(spelling: str, monkeypatch):
    quoted = SPELLINGS[spelling][0].format
    lines = [
        f"def f{i}(x: {quoted(marked)}, *rest: {quoted(marked)}) -> {quoted(plain)}: return x"
        for i, (marked, plain, _) in enumerate(FORMS_IN_CONTAINERS)
    ]
    module = module_of("\n".join(lines), spelling, monkeypatch)
    every = 1 if spelling == "from the future" else 7  # the strings are the same
    for i, (form, _, container) in [*enumerate(FORMS_IN_CONTAINERS)][::every]:
        fn, value = getattr(module, f"f{i}"), CONTAINERS[container]
        told = str(explain(filter_jit(fn))).splitlines()[2]
        assert ("donated" in told) == form.startswith("Donate"), (form, told)
        assert filter_eval_shape(fn, value, value) == value, form


def test_markers_around_them_have_their_effect(spelling: str, monkeypatch):
    quoted = SPELLINGS[spelling][0]
    diff, axis, static, donate = (
        quoted.format(form)
        for form in (
            'Diff[Float[Array, "b n"]]',
            'Annotated[Float[Array, "#n"], VmapAxis[1]]',
            'Static[Callable[[Float[Array, "n+1"]], Float[Array, ""]]]',
            'Donate[Float[Array, ""]] | None',
        )
    )
    module = module_of(
        f"def loss(x: Array, w: {diff}) -> Array: return (x * w**2).sum()\n"
        f"def column(x: {axis}) -> Array: return x\n"
        f"def apply(x: Array, fn: {static}, y: {donate} = None) -> Array: return fn(x) + y\n",
        spelling,
        monkeypatch,
    )
    x = jnp.arange(6.0).reshape(2, 3)
    assert filter_grad(module.loss)(jnp.ones((2, 3)), x).tolist() == (2 * x).tolist()
    assert filter_vmap(module.column)(x).tolist() == x.T.tolist()
    y = jnp.zeros(())
    assert filter_jit(module.apply)(x, jnp.sum, y) == 15
    assert y.is_deleted()
