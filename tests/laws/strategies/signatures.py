"""Functions with parameters of every kind and annotation, and calls of every style, as Python source."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from strategies.programs import Program, program

__all__ = ["differentiated", "jitted", "mapped_signatures"]


@dataclasses.dataclass(frozen=True)
class Row:
    """An annotation, values that fit, and what it says: of jit a role, of vmap an axis, of grad a target."""

    annotation: str
    values: tuple[str, ...]
    says: Any
    marked: bool = False  # Diff


@dataclasses.dataclass(frozen=True)
class Param:
    name: str
    kind: str  # position, either, args, name, kwargs
    row: Row
    value: str
    default: str = ""

    @property
    def text(self) -> str:
        stars = {"args": "*", "kwargs": "**"}.get(self.kind, "")
        annotation = f": {self.row.annotation}" if self.row.annotation else ""
        return f"{stars}{self.name}{annotation}{f' = {self.default}' if self.default else ''}"


ORDER = ("position", "either", "args", "name", "kwargs")
VECTOR = ("array('float32', (3,))", "numbers('float32', (3,), 2)", "jnp.arange(3.0)")
INTEGERS = ("array('int32', (3,))", "numbers('int8', (3,))", "jnp.arange(3)")
NUMBERS = ("2.0", "0.5", "-0.0")
LEAVES = (
    "array('bfloat16', (2,))",
    "[SHARED, 'a']",
    "{'x': SHARED, 'y': 1.5}",
    "1",
    "'a'",
    "None",
    "jnp.sin",
)
MODELS = ("Model(SHARED, 'a')", "Module(1.5, SHARED)", "ByHand(SHARED, 1)", "Struct(SHARED, (1, 'b'))")
STATIC = ("1", "1.0", "True", "'a'", "(1, 2.0)", "Config(1)", "None", "decimal.Decimal('1.0')", "jnp.cos")

JIT = (
    Row("", LEAVES + MODELS, "leaf"),
    Row("Any", LEAVES + MODELS, "leaf"),
    Row("PyTree", LEAVES, "leaf"),
    Row("Array", VECTOR[:1] + INTEGERS[:1], "traced"),
    Row("ArrayLike", VECTOR + NUMBERS, "traced"),
    Row('Float[Array, "n"]', VECTOR, "traced"),
    Row('Float[Array, ""]', ("jnp.float32(1)", *NUMBERS), "traced"),
    Row('Int[Array, "n"]', INTEGERS, "traced"),
    Row('Num[Array, "..."]', VECTOR + INTEGERS, "traced"),
    Row('Float[Array, "n"] | None', ("SHARED", "None"), "traced"),
    Row('Float[Array, ""] | None', ("2.0", "None"), "traced"),
    Row('list[Float[Array, "n"]]', ("[SHARED, SHARED]", "[]"), "traced"),
    Row('list[Float[Array, ""]]', ("[2.0, jnp.float32(1)]",), "traced"),
    Row('dict[str, Float[Array, ""]]', ("{'b': 2.0, 'a': -0.0}",), "traced"),
    Row('PyTree[Float[Array, ""]]', ("{'b': (2.0,), 'a': 0.5}",), "traced"),
    Row("dict[str, Array]", ("{'b': SHARED, 'a': jnp.arange(2)}",), "traced"),
    Row('PyTree[Float[Array, "..."]]', ("{'a': SHARED, 'b': [numbers('float32', (0,))]}",), "traced"),
    Row('tuple[Float[Array, "n"], ...]', ("(SHARED,)", "()"), "traced"),
    Row("int", ("1", "True"), "static"),
    Row("float", ("0.5", "-0.0", "float('nan')"), "static"),
    Row("str", ("'a'",), "static"),
    Row("bool | None", ("True", "None"), "static"),
    Row('Literal["a", "b"]', ("'a'",), "static"),
    Row("Colour", ("Colour.RED", "Colour.ONE"), "static"),
    Row("type", ("int", "Pair"), "static"),
    Row("Static[Any]", STATIC, "static"),
    Row("Static[int] | None", ("1", "None"), "static"),
    Row('"Static[Any]"', STATIC, "static"),
    Row("Annotated[Static[Any], 'a note']", STATIC, "static"),
    Row("Traced[float]", NUMBERS, "traced"),
    Row("Traced[Any]", ("1", "True", "[1.5, SHARED]", "{'a': 2}", "None", "1j"), "traced"),
    Row('Traced["int | None"]', ("1", "None"), "traced"),
    Row("Donate[Array]", VECTOR[::2], "traced"),
    Row("Donate[Any]", ("[jnp.arange(2.0), 'a']", "Model(jnp.arange(2.0), 1)"), "leaf"),
    Row('Donate[VmapAxis[0, Float[Array, "n"]]]', VECTOR, "traced"),
    Row('Annotated[Donate[Float[Array, "n"]], VmapAxis[0]]', VECTOR, "traced"),
    Row('NoDiff[Float[Array, "n"]]', VECTOR, "traced"),
    Row("NoDiff[Any]", LEAVES, "leaf"),
    Row("VmapAxis[None, Any]", LEAVES, "leaf"),
)
MARKERS = ("Static", "Traced", "Donate", "Diff", "VmapAxis")
# What a wrapper wraps says nothing of the wrapper's own arguments, and may not be marked.
UNMARKED = tuple(
    dataclasses.replace(row, says="leaf")
    for row in JIT
    if not any(name in row.annotation for name in MARKERS)
)
MANY = ("array('float32', (3, 2))", "numbers('int32', (3, 2))")
SQUARE = ("array('float32', (2, 3))", "numbers('float32', (2, 3), 2)")
VMAP = (
    Row("", ("SHARED", "1", "'a'", "{'x': SHARED, 'y': 1}", "Model(keys(3), SHARED)", *MANY), 0),
    Row('Float[Array, ""]', ("SHARED",), 0),
    Row('Float[Array, ""]', ("2.0",), None),
    Row('Num[Array, "n"]', MANY, 0),
    Row("list[Array]", ("[SHARED, SHARED]", "[]"), 0),
    Row("int", ("1", "True"), None),
    Row("Static[Any]", STATIC, None),
    Row("Traced[float]", ("0.5",), None),
    Row("Traced[Any]", ("[SHARED, 1.5]",), 0),
    Row("VmapAxis[1, Any]", SQUARE, 1),
    Row('VmapAxis[-1, Float[Array, "n"]]', SQUARE, -1),
    Row('Annotated[Float[Array, "n"], VmapAxis[1]]', SQUARE, 1),
    Row("VmapAxis[-2, Any]", MANY, -2),
    Row("VmapAxis[None, Array]", (*MANY, "SHARED"), None),
    Row("Donate[VmapAxis[1, Array]]", SQUARE, 1),
    Row("NoDiff[VmapAxis[0, Any]]", ("SHARED",), 0),
)
GRAD = (
    Row("", ("SHARED", "[SHARED, 1.5, 'a']", "Fixed(SHARED, SHARED)", "ByHand(SHARED, [SHARED])"), "leaf"),
    Row('Float[Array, "..."]', (*VECTOR, "array('float32', (2, 2))"), "leaf"),
    Row("Array", VECTOR[::2], "leaf"),
    Row("PyTree[Array]", ("[SHARED, {'a': jnp.arange(2)}]",), "leaf"),
    Row("Any", MODELS, "leaf"),
    Row("Donate[Array]", VECTOR[::2], "leaf"),
)
OTHER = (
    *(Row(row.annotation, row.values, "rest") for row in GRAD),
    Row('Int[Array, "n"]', INTEGERS, "rest"),
    Row("Static[Any]", STATIC, "rest"),
    Row("int", ("2", "True"), "rest"),
    Row('NoDiff[Float[Array, "n"]]', VECTOR, "rest"),
)
DIFF = (
    Row("Diff[Any]", GRAD[0].values, "leaf", True),
    Row('Diff[Float[Array, "n"]]', VECTOR, "leaf", True),
    Row('Annotated[Diff[Float[Array, "n"]], VmapAxis[0]]', VECTOR, "leaf", True),
    Row('Donate[Diff[Float[Array, "n"]]]', VECTOR, "leaf", True),
)


# ---------------------------------------------------------------------------------------------- parameters


@st.composite
def params_of(
    draw: Any, rows: Sequence[Row], first: Sequence[Row] = (), variadic: bool = True
) -> list[Param]:
    """Parameters in an order that Python takes; of one with a default no later one by position is without."""
    kinds = ORDER if variadic else ("position", "either", "name")
    drawn = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4))
    drawn = sorted(
        dict.fromkeys(drawn) if drawn.count("args") + drawn.count("kwargs") > 1 else drawn, key=ORDER.index
    )
    if first:
        drawn = ["either", *(kind for kind in drawn if kind != "position")]
    params: list[Param] = []
    defaults = False
    for i, kind in enumerate(drawn):
        row = draw(st.sampled_from(first if first and i == 0 else rows))
        value = draw(st.sampled_from(row.values))
        defaults = kind in ("position", "either") and (defaults or draw(st.integers(0, 3)) == 0)
        has_default = defaults or (kind == "name" and draw(st.booleans()))
        default = draw(st.sampled_from(row.values)) if has_default and "Donate" not in row.annotation else ""
        defaults = bool(default) if kind != "name" else False
        params.append(Param("abcde"[i], kind, row, value, default))
    return [
        dataclasses.replace(param, default="") if needs_none(params, i) else param
        for i, param in enumerate(params)
    ]


def needs_none(params: list[Param], i: int) -> bool:
    """Whether a parameter by position without a default comes later."""
    by_position = ("position", "either")
    return params[i].kind in by_position and any(
        other.kind in by_position and not other.default for other in params[i + 1 :]
    )


def signature(params: list[Param]) -> str:
    texts: list[str] = []
    for i, param in enumerate(params):
        if param.kind == "name" and not any(other.kind in ("args", "name") for other in params[:i]):
            texts.append("*")
        texts.append(param.text)
        if param.kind == "position" and not any(other.kind == "position" for other in params[i + 1 :]):
            texts.append("/")
    return ", ".join(texts)


@st.composite
def calls_of(draw: Any, params: list[Param]) -> tuple[list[str], list[str]]:
    """What is passed by position, and what by name; defaults are sometimes left to themselves."""
    positional: list[str] = []
    by_name: list[str] = []
    names = any(param.kind == "args" for param in params)
    skipped = False
    for param in params:
        if param.kind == "kwargs":
            by_name += draw(
                st.sampled_from([[], [f"x={param.value}"], [f"y={param.value}", f"x={param.value}"]])
            )
        elif param.kind == "args":
            positional += [] if skipped else draw(st.sampled_from([[], [param.value], [param.value] * 2]))
        elif param.default and draw(st.booleans()):
            skipped = skipped or param.kind in ("position", "either")
        elif param.kind == "name" or (
            param.kind == "either" and (skipped or (not names and draw(st.booleans())))
        ):
            by_name.append(f"{param.name}={param.value}")
            skipped = skipped or param.kind == "either"
        elif not skipped:  # what is by position only, after one that was left out, is left out too
            positional.append(param.value)
    return positional, draw(st.permutations(by_name))


# ------------------------------------------------------------------------------------------------- programs

STYLES = {
    "plain": "jitted = tf.filter_jit(f)\nours = lambda: jitted(<call>)",
    "partial above": "jitted = tf.filter_jit(f)\nours = lambda: functools.partial(jitted, <first>)(<rest>)",
    "partial below": "ours = lambda: tf.filter_jit(functools.partial(f, <first>))(<rest>)",
    "wraps": (
        "@functools.wraps(f)\ndef outer(*args, **kwargs):\n    return f(*args, **kwargs)\n\n"
        "jitted = tf.filter_jit(outer)\nours = lambda: jitted(<call>)"
    ),
    "method": (
        "class Holder:\n    @tf.filter_jit\n    def method(self, <signature>):\n"
        "        return {<returned>}\n\nholder = Holder()\nours = lambda: holder.method(<call>)"
    ),
    "static method": (
        "class Holder:\n    @staticmethod\n    @tf.filter_jit\n    def method(<signature>):\n"
        "        return {<returned>}\n\nours = lambda: Holder.method(<call>)"
    ),
    "class method": (
        "class Holder:\n    @classmethod\n    @tf.filter_jit\n    def method(cls, <signature>):\n"
        "        return {<returned>}\n\nours = lambda: Holder().method(<call>)"
    ),
    "bound": (
        "class Holder:\n    def method(self, <signature>):\n"
        "        return {<returned>}\n\n"
        "jitted = tf.filter_jit(Holder().method)\nours = lambda: jitted(<call>)"
    ),
}

JITTED = """
    def f(<signature>):
        return {<returned>}

    def unannotated(<bare>):
        return {<returned>}

    <style>

    roles = <roles>
    eager = f(<call>)
    right = {name: expected(roles[name], value) for name, (value, _) in eager.items()}
    agree(ours(), right)
    agree(ours(), right)
    with jax.disable_jit():
        agree(values_of(ours()), values_of(right))
    plain_roles = {name: expected("leaf", value) for name, (value, _) in eager.items()}
    agree(tf.filter_jit(unannotated)(<call>), plain_roles)
"""


@st.composite
def jitted(draw: Any, styles: Sequence[str] = tuple(STYLES)) -> Program:
    """A function of annotated parameters under `filter_jit`, called in some style."""
    style = draw(st.sampled_from(styles))
    params = draw(params_of(UNMARKED if style == "wraps" else JIT))
    if style == "wraps":  # of its own defaults a wrapper knows nothing: they are filled in below
        params = [dataclasses.replace(param, default="") for param in params]
    positional, by_name = draw(calls_of(params))
    if not positional and style.startswith("partial"):
        style = "plain"
    several = draw(st.integers(1, 2))
    first, rest = positional[:several], [*positional[several:], *by_name]
    bare = [dataclasses.replace(param, row=Row("", (), "leaf")) for param in params]
    return program(
        JITTED,
        draw(st.booleans()),
        style=STYLES[style],
        signature=signature(params),
        bare=signature(bare),
        returned=", ".join(f"{p.name!r}: ({p.name}, seen({p.name}))" for p in params),
        roles=repr({param.name: param.row.says for param in params}),
        call=", ".join([*positional, *by_name]),
        first=", ".join(first),
        rest=", ".join(rest),
    )


MAPPED = """
    def f(<signature>):
        return {<returned>}

    args = {<args>}
    right = by_example(f, <axes>, args, lambda args: list(args.values()))
    ours = tf.filter_vmap(f, axis_size=3)
    agree(ours(*fresh(args)), right)
    agree(tf.filter_jit(ours)(*fresh(args)), right)
    with jax.disable_jit():
        agree(ours(*fresh(args)), right)
"""


@st.composite
def mapped_signatures(draw: Any) -> Program:
    """A function of annotated parameters under `filter_vmap`, against a loop over its examples."""
    rows = draw(st.lists(st.sampled_from(VMAP), min_size=1, max_size=4))
    params = [
        Param("abcd"[i], "either", row, draw(st.sampled_from(row.values))) for i, row in enumerate(rows)
    ]
    become_arrays = ("Traced[float]", "Traced[Any]", 'Float[Array, ""]')
    returned = [
        f"{p.name!r}: as_arrays({p.name})" if p.row.annotation in become_arrays else f"{p.name!r}: {p.name}"
        for p in params
    ]
    return program(
        MAPPED,
        draw(st.booleans()),
        signature=signature(params),
        returned=", ".join(returned),
        args=", ".join(f"{p.name!r}: {p.value}" for p in params),
        axes=repr({p.name: p.row.says for p in params}),
    )


DIFFERENTIATED = """
    def f(<signature>):
        return total((<names>,))

    right = outcome(lambda: <right>)
    value = f(<call>)
    agree_or_raise(outcome(lambda: tf.filter_grad(f)(<call>)), right)
    agree_or_raise(outcome(lambda: tf.filter_jit(tf.filter_grad(f))(<call>)), right)
    both = outcome(lambda: tf.filter_value_and_grad(f)(<call>))
    agree_or_raise(both, right if isinstance(right, Raised) else (value, right))
    with jax.disable_jit():
        agree_or_raise(outcome(lambda: tf.filter_grad(f)(<call>)), right)
"""


@st.composite
def differentiated(draw: Any) -> Program:
    """A function of annotated parameters under `filter_grad`: for its first, or for those that are marked."""
    marked = draw(st.booleans())
    first = DIFF if marked else GRAD
    params = draw(params_of(OTHER + DIFF * 3 if marked else OTHER, first, variadic=False))
    by_name = {p.name: p.value for p in params}
    targets = [p for p in params if p.row.marked] if marked else params[:1]

    def grad(target: Param) -> str:
        passed = ", ".join(
            ("" if p.kind == "either" else f"{p.name}=") + ("wanted" if p is target else p.value)
            for p in params
        )
        return f"plain_grad(lambda wanted: f({passed}), {target.value})"

    rights = [grad(target) for target in targets]
    call = ", ".join(
        value if params[i].kind == "either" else f"{name}={value}"
        for i, (name, value) in enumerate(by_name.items())
    )
    return program(
        DIFFERENTIATED,
        draw(st.booleans()),
        signature=signature(params),
        names=", ".join(by_name),
        right=rights[0] if len(rights) == 1 else f"({', '.join(rights)})",
        call=call,
    )
