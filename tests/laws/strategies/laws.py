"""The programs of the other laws: of one tree, of two static values, of stacks."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from strategies import sources
from strategies.programs import Program, program

__all__ = ["gradients", "histories", "maps", "split", "stacks", "static_values"]

SPLIT = """
    traces = []

    def f(tree, *rest):
        traces.append(0)
        return change(tree, *rest)

    jitted = tf.filter_jit(f)
    right = change(<tree>, <tree>)
    for _ in range(2):
        agree(jitted(<tree>, <tree>), right)
    assert len(traces) == 1, "traced again for an equal tree"
    assert tf.filter_jit(lambda tree: seen(tree))(<tree>) == expected("leaf", <tree>)[1]
    with jax.disable_jit():
        agree(jitted(<tree>, <tree>), right)
    agree(jax.tree.map(lambda leaf: leaf, tf.combine(*tf.partition(<tree>, tf.is_array))), <tree>)
    assert tf.tree_equal(<tree>, <tree>)
    for leaf in jax.tree.leaves(<tree>):
        assert tf.is_array(leaf) == is_array(leaf), leaf
    <twins>
"""
# Of nodes whose classes differ and nothing else: JAX takes one treedef for the other.
TWINS = """\
traces.clear()
agree(jitted(<twin>, <twin>), change(<twin>, <twin>))
assert len(traces) == 1, "a program of another class was run"
converted = tf.filter_closure_convert(change, <tree>)
agree(converted(<tree>), change(<tree>))
assert isinstance(outcome(lambda: converted(<twin>)), Raised)"""
GRADIENTS = """
    right = plain_grad(total, <tree>)
    agree(tf.filter_grad(total)(<tree>), right)
    agree(tf.filter_jit(tf.filter_grad(total))(<tree>), right)
    agree(tf.filter_value_and_grad(total)(<tree>), (total(<tree>), right))
    with jax.disable_jit():
        agree(tf.filter_grad(total)(<tree>), right)
"""
MAPS = """
    right = outcome(lambda: plain(functools.partial(jax.vmap, axis_size=3), change, <tree>))
    ours = tf.filter_vmap(change, axis_size=3)
    agree_or_raise(outcome(lambda: ours(<tree>)), right)
    agree_or_raise(outcome(lambda: tf.filter_jit(ours)(<tree>)), right)
    agree_or_raise(outcome(lambda: tf.filter_vmap(tf.filter_jit(change), axis_size=3)(<tree>)), right)
"""
STATICS = """
    values = lambda: (<values>,)
    traces = []

    <way>

    for turn in range(2):
        for value in values():
            agree(call(value), (jnp.ones(2), told(value)))
        assert not (turn and traces), "traced again for equal values"
        traces.clear()
    keyed = tf.filter_jit(lambda tree: told(next(iter(tree))))
    for key in (1, True, 1.0):
        assert keyed({key: SHARED}) == told(key)
"""
# The ways on which a static value reaches a body, which counts its traces.
PLAIN = """\
def f(x, value):
    traces.append(0)
    return x, told(value)

jitted = tf.filter_jit(f)
call = lambda value: jitted(<x>, value)"""
WITHIN = """\
def within(tree):
    traces.append(0)
    return tree[0], told(<taken>)

jitted = tf.filter_jit(within)
call = lambda value: jitted([<x>, <tree>])"""
WAYS = (
    PLAIN,
    PLAIN.replace("(<x>, value)", "(value=value, x=<x>)"),
    PLAIN.replace("value):", "value: Static[Any]):"),
    """\
def bound(value, x):
    traces.append(0)
    return x, told(value)

call = lambda value: tf.filter_jit(functools.partial(bound, value))(<x>)""",
    """\
class Holder:
    def __init__(self, value): self.value = value
    def __eq__(self, other): return type(self) is type(other) and told(self.value) == told(other.value)
    def __hash__(self): return hash(told(self.value))
    @tf.filter_jit
    def method(self, x):
        traces.append(0)
        return x, told(self.value)

call = lambda value: Holder(value).method(<x>)""",
    *(
        WITHIN.replace("<tree>", tree).replace("<taken>", taken)
        for tree, taken in (
            ("[SHARED, value]", "tree[1][1]"),
            ("{'b': value, 'a': SHARED}", "tree[1]['b']"),
            ("{value: SHARED}", "next(iter(tree[1]))"),
            ("Model(SHARED, None, value)", "tree[1].n"),
            ("Model(SHARED, Fixed(value, 1))", "tree[1].b.a"),
            ("ByHand(SHARED, value)", "tree[1].b"),
        )
    ),
)
HISTORIES = """
    def f(x, value):
        return jnp.asarray(x) + 1, told(value)

    jitted = tf.filter_jit(f)
    <steps>
"""
CHANGED = """held = <value>
agree(jitted(SHARED, held), f(SHARED, held))
held.gain = <gain>
agree(jitted(SHARED, held), f(SHARED, held))
agree(jitted(jnp.ones(4), <value>), f(jnp.ones(4), <value>))"""
DEFINED_ANEW = """class Changeable:
    def __init__(self, gain): self.gain = gain
    def __eq__(self, other): return type(self) is type(other) and repr(self) == repr(other)
    def __hash__(self): return hash(repr(self))
    def __repr__(self): return f"Again({self.gain!r})\""""
STEPS = (
    "agree(jitted(SHARED, <value>), f(SHARED, <value>))",
    "agree(jitted(jnp.ones(2), <value>), f(jnp.ones(2), <value>))",
    "agree(jitted(np.ones(3), (<value>,)), f(np.ones(3), (<value>,)))",
    "agree(jitted.lower(SHARED, <value>).compile()(SHARED, <value>), f(SHARED, <value>))",
    "jitted.clear_cache()",
    CHANGED,
    DEFINED_ANEW,
    "jitted = tf.filter_jit(f)",
)


@st.composite
def split(draw: Any) -> Program:
    """Any tree under `filter_jit`, against the body itself."""
    tree = f"[{draw(sources.trees)}, {draw(sources.small)}, Frozen(SHARED, 'a')]"
    return program(SPLIT, twins=TWINS, tree=tree, twin=tree.replace("Frozen(", "Twin("))


@st.composite
def gradients(draw: Any) -> Program:
    """Any tree of what JAX differentiates, against `jax.grad` of the arrays that were taken out by hand."""
    parts = draw(sources.differentiable), draw(sources.marked), draw(sources.inexact)
    return program(GRADIENTS, tree=f"[{', '.join(parts)}]")


@st.composite
def maps(draw: Any) -> Program:
    """Any tree of 3 examples, against `jax.vmap` likewise."""
    return program(MAPS, tree=draw(sources.mapped))


@st.composite
def static_values(draw: Any, values_of: Any = sources.statics | sources.every_static) -> Program:
    """The values of some families or of all, each of which looks like others; twice."""
    values = draw(values_of)
    x = draw(st.sampled_from(["jnp.ones(2)", "np.ones(2, np.float32)"]))
    way = draw(st.sampled_from(WAYS)).replace("<x>", x)
    if "{value: SHARED}" in way:  # to JAX's treedefs, as to `==`, no key that is a NaN equals another
        values = [value for value in values if "nan" not in value] or ["1"]
    return program(STATICS, way=way, values=",\n    ".join(values))


@st.composite
def histories(draw: Any) -> Program:
    """Calls with objects that change, and of classes that are defined anew."""
    steps: list[str] = []
    for _ in range(draw(st.integers(0, 5))):
        gain = st.sampled_from(["1", "True", "2", "1.0", "'a'"])
        step = draw(st.sampled_from(STEPS))
        value = f"Changeable({draw(gain)})"
        steps.append(step.replace("<value>", value).replace("<gain>", draw(gain)))
    one, other = draw(st.permutations(["1", "True", "2", "1.0", "'a'"]))[:2]
    steps.append(CHANGED.replace("<value>", f"Changeable({one})").replace("<gain>", other))
    return program(HISTORIES, steps="\n".join(steps))


# --------------------------------------------------------------------------------------------------- stacks

# Ours beside what plain JAX has for it; what each needs of the layers below, and what it leaves.
ANYWHERE = (
    ("tf.filter_jit", "jax_layer(jax.jit)"),
    ("tf.filter_checkpoint", "jax_layer(jax.checkpoint)"),
    ("jax_layer(jax.jit)", "jax_layer(jax.jit)"),
    ("jax_layer(jax.checkpoint)", "same"),
    ("converted", "same"),
    ("chosen", "same"),
    ("pushed", "same"),
    ("pulled", "same"),
    ("totalled", "totalled"),
)
MAPPING = (
    ("functools.partial(tf.filter_vmap, in_axes=(None, 0))", "jax_vmap"),
    ("jax_vmap", "jax_vmap"),
    ("scanned", "jax_vmap"),
)
DIFFERENTIATING = (
    ("tf.filter_grad", "plain_grads"),
    ("plain_grads", "plain_grads"),
    ("tf.filter_value_and_grad", "plain_value_and_grads"),
)
STACK = """
    def base(tree, x):
        return total(tree, x)

    ours = right = base
    <layers>
    tree, x = <tree>, array("float32", <shape>)
    expected = right(tree, x)
    agree(ours(tree, x), expected, weak=False)
    agree(tf.filter_jit(ours)(tree, x), expected, weak=False)
    with jax.disable_jit():
        agree(ours(tree, x), expected, weak=False)
"""
TREES = (
    *(
        "[SHARED, 'a']",
        "Model(SHARED, 1.5)",
        "Fixed(SHARED, array('float32', (2,)))",
        "{'a': SHARED, 'b': SHARED}",
    ),
    *("Module(SHARED, Pair(jnp.arange(3), 'b'))", "ByHand(SHARED, (jnp.asarray(2.0), 1))", "SHARED"),
    *("Struct(SHARED, jnp.sin)", "(Frozen(np.ones(2, np.float32), 1), None)"),
)


@st.composite
def stacks(draw: Any) -> Program:
    """Up to four transforms around one function, of ours and of JAX's own."""
    scalar, axes, lines = True, 0, list[str]()
    only_ours = draw(st.booleans())
    for _ in range(draw(st.integers(1, 4))):
        groups = [ANYWHERE, *[MAPPING] * (axes < 2), *[DIFFERENTIATING] * scalar]
        if only_ours:
            groups = [[layer for layer in group if "tf.filter" in layer[0]] for group in groups]
        layer = draw(st.sampled_from(groups).flatmap(st.sampled_from))
        lines.append(f"ours, right = {layer[0]}(ours), {layer[1]}(right)")
        if layer in MAPPING:
            scalar, axes = False, axes + 1
        elif layer in DIFFERENTIATING:
            scalar = False
        elif layer == ("totalled", "totalled"):
            scalar = True
    shape = repr((3,) * axes + (2,))
    return program(STACK, layers="\n".join(lines), tree=draw(st.sampled_from(TREES)), shape=shape)
