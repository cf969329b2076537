"""Mistakes in longer bodies, of helpers, loops, models, unions, keys; each beside its sound twin.

The sound one is good, and the other one, which differs in one piece, fails.
"""

from __future__ import annotations

import functools

import pytest

from typedfilter.check import Report
from typedfilter.check import run as _run
from typedfilter.check.report import text as _text

_HEAD = """\
import dataclasses
from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, UInt32

import typedfilter as tf
from typedfilter import Static


class Pair(NamedTuple):
    mean: Float[Array, "n"]
    cov: Float[Array, "n n"]


class Layer(eqx.Module):
    weight: Float[Array, "o i"]
    bias: Float[Array, "o"] | None

    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        y = self.weight @ x
        return y if self.bias is None else y + self.bias


@tf.pytree_dataclass
class Norm:
    scale: Float[Array, "d"]
    eps: Static[float] = 1e-6


T = TypeVar("T")


class Box(eqx.Module, Generic[T]):
    value: T


def project(x, w):
    return x @ w


def draw(key, shape):
    return jax.random.normal(key, shape)
"""

# name: the function, with the sound piece and the mistaken one
PLANTED: dict[str, tuple[str, str, str]] = {
    # axes of batches and heads
    "by_heads": (
        (
            'def by_heads(x: Float[Array, "b t h*d"], h: Literal[2, 4]) -> Float[Array, "b h t d"]:\n'
            "    b, t, e = x.shape\n"
            "    return x.reshape(b, t, h, e // h).transpose({})\n"
        ),
        "0, 2, 1, 3",
        "0, 2, 3, 1",
    ),
    "scores": (
        (
            'def scores(q: Float[Array, "b h t d"], k: Float[Array, "b h s d"]) -> Float[Array, "b h t s"]:\n'
            "    return jnp.einsum('bhtd,bhsd->{}', q, k) / q.shape[-1] ** 0.5\n"
        ),
        "bhts",
        "bhst",
    ),
    "attended": (
        (
            'def attended(q: Float[Array, "b t d"], k: Float[Array, "b s d"], v: Float[Array, "b s e"])'
            ' -> Float[Array, "b t e"]:\n'
            "    weights = jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2), axis=-1)\n"
            "    return {}\n"
        ),
        "weights @ v",
        "jnp.swapaxes(weights, -1, -2) @ v",
    ),
    "pooled": (
        (
            'def pooled(x: Float[Array, "b t d"], mask: Bool[Array, "b t"]) -> Float[Array, "b d"]:\n'
            "    kept = jnp.where(mask{}, x, 0)\n"
            "    return kept.sum(axis=1)\n"
        ),
        "[..., None]",
        "[:, None, :]",
    ),
    "missing_batch": (
        (
            'def missing_batch(x: Float[Array, "b n"], w: Float[Array, "n m"]) -> Float[Array, "b m"]:\n'
            "    return {}\n"
        ),
        "jax.vmap(lambda row: row @ w)(x)",
        "(lambda row: row @ w)(x[0])",
    ),
    "mapped_wrongly": (
        (
            'def mapped_wrongly(x: Float[Array, "b n"], y: Float[Array, "n c"]) -> Float[Array, "b c"]:\n'
            "    return jax.vmap(lambda a, b: a @ b, in_axes={})(x, y)\n"
        ),
        "(0, None)",
        "(None, 1)",
    ),
    # works only where two sizes are equal
    "scaled_rows": (
        (
            'def scaled_rows(x: Float[Array, "n m"], s: Float[Array, "n"]) -> Float[Array, "n m"]:\n'
            "    return x * s{}\n"
        ),
        "[:, None]",
        "",
    ),
    "centred_columns": (
        (
            'def centred_columns(x: Float[Array, "n m"]) -> Float[Array, "n m"]:\n'
            "    return x - x.mean(axis=1{})\n"
        ),
        ", keepdims=True",
        "",
    ),
    "distances": (
        (
            'def distances(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:\n'
            "    return ((x{} - y) ** 2).sum(-1)\n"
        ),
        "[:, None]",
        "",
    ),
    "outer_sum": (
        'def outer_sum(x: Float[Array, "n"], y: Float[Array, "m"]) -> Float[Array, "n m"]:\n    return {}\n',
        "x[:, None] + y[None, :]",
        "x + y",
    ),
    # helpers
    "swapped_for_a_helper": (
        (
            "def swapped_for_a_helper("
            'x: Float[Array, "n m"], w: Float[Array, "m k"]) -> Float[Array, "n k"]:\n'
            "    return project({})\n"
        ),
        "x, w",
        "w, x",
    ),
    "helper_of_other_parts": (
        (
            "def helper_of_other_parts("
            'x: Float[Array, "n"], a: Float[Array, "n m"], b: Float[Array, "m n"]) -> Float[Array, "m"]:\n'
            "    return project(x, {})\n"
        ),
        "a",
        "b",
    ),
    # results
    "pair": (
        'def pair(mean: Float[Array, "n"], root: Float[Array, "n k"]) -> Pair:\n    return Pair(mean, {})\n',
        "root @ root.T",
        "root.T @ root",
    ),
    "dictionary": (
        (
            'def dictionary(x: Float[Array, "n m"]) -> dict[Literal["rows", "columns"], Float[Array, "_"]]:\n'
            '    return {{"rows": x.sum(1), "columns": {}}}\n'
        ),
        "x.sum(0)",
        "x.sum()",
    ),
    "swapped_results": (
        (
            'def swapped_results(x: Float[Array, "n m"]) -> tuple[Float[Array, "n"], Float[Array, "m"]]:\n'
            "    rows, columns = x.sum(1), x.sum(0)\n"
            "    return {}\n"
        ),
        "rows, columns",
        "columns, rows",
    ),
    "name_of_the_result": (
        'def name_of_the_result(x: Float[Array, "n m"]) -> Float[Array, "{}"]:\n    return x.max(axis=1)\n',
        "n",
        "m",
    ),
    "listed": (
        (
            'def listed(x: Float[Array, "n m"]) -> list[Float[Array, "n"]]:\n'
            "    return [x.min(axis=1), x.max(axis={})]\n"
        ),
        "1",
        "0",
    ),
    # unions, optionals, defaults
    "member": (
        (
            'def member(x: Float[Array, "n m"] | Float[Array, "n"]) -> Float[Array, "n"]:\n'
            "    return x.sum(axis=1) if x.ndim == 2 else {}\n"
        ),
        "x",
        "x.sum()",
    ),
    "optional_scale": (
        (
            'def optional_scale(x: Float[Array, "n m"], s: Float[Array, "n"] | None = None)'
            ' -> Float[Array, "n m"]:\n'
            "    return x if s is None else {}\n"
        ),
        "x * s[:, None]",
        "x * s",
    ),
    "default_none": (
        (
            "def default_none("
            'x: Float[Array, "n"], mask: Bool[Array, "n"] | None = None) -> Float[Array, "n"]:\n'
            "    {}\n"
            "    return jnp.where(mask, x, 0)\n"
        ),
        "mask = x > 0 if mask is None else mask",
        "mask = mask[:]",
    ),
    "mode": (
        (
            'def mode(x: Float[Array, "n m"], how: Literal["rows", "all"]) -> Float[Array, "..."]:\n'
            '    y: Float[Array, "n"] = x.sum(1) if how == "rows" else {}\n'
            "    return y\n"
        ),
        "x.max(1)",
        "x.sum()",
    ),
    # models
    "two_layers": (
        'def two_layers(first: Layer, x: Float[Array, "i"]) -> Float[Array, "o"]:\n    return {}\n',
        "first(x)",
        "first.weight.T @ first(x)",
    ),
    "normed": (
        (
            'def normed(norm: Norm, x: Float[Array, "t d"]) -> Float[Array, "t d"]:\n'
            "    var = jnp.mean(x**2, axis=-1{})\n"
            "    return x / jnp.sqrt(var + norm.eps) * norm.scale\n"
        ),
        ", keepdims=True",
        "",
    ),
    "boxed": (
        'def boxed(box: Box[Float[Array, "n m"]]) -> Float[Array, "m"]:\n    return box.value.sum({})\n',
        "0",
        "1",
    ),
    "updated": (
        (
            'def updated(layer: Layer, grad: Float[Array, "o i"]) -> Layer:\n'
            "    return eqx.tree_at(lambda m: m.weight, layer, layer.weight - {})\n"
        ),
        "grad",
        "grad.T",
    ),
    "method": (
        (
            "class Cell(eqx.Module):\n"
            '    inner: Float[Array, "h h"]\n'
            '    outer: Float[Array, "h i"]\n\n'
            '    def method(self, x: Float[Array, "i"], h: Float[Array, "h"]) -> Float[Array, "h"]:\n'
            "        return jnp.tanh(self.outer @ x + {})\n"
        ),
        "self.inner @ h",
        "self.outer @ h",
    ),
    # numbers
    "static_count": (
        (
            'def static_count(x: Float[Array, "n"], k: Static[int] = 2) -> Float[Array, "n*{{k}}"]:\n'
            "    return {}\n"
        ),
        "jnp.repeat(x, k)",
        "jnp.repeat(x, k + 1)",
    ),
    "one_hot": (
        (
            'def one_hot(labels: Int[Array, "n"], logits: Float[Array, "n c"]) -> Float[Array, "n c"]:\n'
            "    return logits * jax.nn.one_hot(labels, logits.shape[{}])\n"
        ),
        "1",
        "0",
    ),
    "patches": (
        (
            'def patches(x: Float[Array, "4*h 4*w c"]) -> Float[Array, "h*w 16*c"]:\n'
            "    height, width, channels = x.shape\n"
            "    x = x.reshape(height // 4, 4, width // 4, 4, channels)\n"
            "    return x.transpose(0, 2, 1, 3, 4).reshape({})\n"
        ),
        "-1, 16 * channels",
        "16 * channels, -1",
    ),
    # letters
    "bilinear": (
        (
            'def bilinear(x: Float[Array, "n a"], w: Float[Array, "o a b"], y: Float[Array, "n b"])'
            ' -> Float[Array, "n o"]:\n'
            "    return jnp.einsum('{},nb->no', x, w, y)\n"
        ),
        "na,oab",
        "nb,oab",
    ),
    # convolutions
    "convolved": (
        (
            'def convolved(x: Float[Array, "b c l"], w: Float[Array, "o c 3"]) -> Float[Array, "b o l"]:\n'
            '    return jax.lax.conv_general_dilated(x, w, (1,), "{}")\n'
        ),
        "SAME",
        "VALID",
    ),
    "strided": (
        (
            'def strided(x: Float[Array, "b 2*l c"], w: Float[Array, "2 c o"]) -> Float[Array, "b l o"]:\n'
            '    numbers = ("NWC", "WIO", "NWC")\n'
            '    return jax.lax.conv_general_dilated(x, w, ({},), "VALID", dimension_numbers=numbers)\n'
        ),
        "2",
        "1",
    ),
    # concatenation, gather, scatter
    "appended": (
        (
            'def appended(x: Float[Array, "t d"], cls: Float[Array, "d"]) -> Float[Array, "t+1 d"]:\n'
            "    return jnp.concatenate([cls[None], x], axis={})\n"
        ),
        "0",
        "1",
    ),
    "gathered": (
        (
            'def gathered(table: Float[Array, "v d"], ids: Int[Array, "b t"]) -> Float[Array, "b t d"]:\n'
            "    return {}\n"
        ),
        "table[ids]",
        "table[:, ids]",
    ),
    "along": (
        (
            'def along(x: Float[Array, "n c"], labels: Int[Array, "n"]) -> Float[Array, "n"]:\n'
            "    return jnp.take_along_axis(x, labels[:, None], axis=1){}\n"
        ),
        "[:, 0]",
        "",
    ),
    "scattered": (
        (
            'def scattered(x: Float[Array, "n d"], ids: Int[Array, "n"]) -> Float[Array, "10 d"]:\n'
            "    return jnp.zeros((10, x.shape[{}])).at[ids].add(x)\n"
        ),
        "1",
        "0",
    ),
    # loops
    "recurrent": (
        (
            'def recurrent(w: Float[Array, "h h"], xs: Float[Array, "t h"]) -> Float[Array, "t h"]:\n'
            "    def step(h, x):\n"
            "        h = jnp.tanh(w @ h + x)\n"
            "        return h, {}\n"
            "    return jax.lax.scan(step, jnp.zeros(w.shape[0]), xs)[1]\n"
        ),
        "h",
        "h.sum()",
    ),
    "carry": (
        (
            'def carry(a: Float[Array, "n n"], x: Float[Array, "n"]) -> Float[Array, "n"]:\n'
            "    return jax.lax.fori_loop(0, 3, lambda i, y: {}, x)\n"
        ),
        "a @ y",
        "(a @ y)[:-1]",
    ),
    "python_loop": (
        (
            'def python_loop(ws: list[Float[Array, "n n"]], x: Float[Array, "b n"]) -> Float[Array, "b n"]:\n'
            "    for w in ws:\n"
            "        x = jax.nn.relu({})\n"
            "    return x\n"
        ),
        "x @ w",
        "(x @ w).T",
    ),
    # keys
    "keys_of_a_helper": (
        (
            'def keys_of_a_helper(key: Key[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:\n'
            "    one, two = jax.random.split(key)\n"
            "    return x + draw(one, x.shape) * draw({}, x.shape)\n"
        ),
        "two",
        "one",
    ),
    "key_in_a_scan": (
        (
            'def key_in_a_scan(key: Key[Array, ""], xs: Float[Array, "t n"]) -> Float[Array, "t n"]:\n'
            "    def step(key, x):\n"
            "        key, now = jax.random.split(key)\n"
            "        return {}, x + draw(now, x.shape)\n"
            "    return jax.lax.scan(step, key, xs)[1]\n"
        ),
        "key",
        "now",
    ),
    "key_in_a_loop": (
        (
            'def key_in_a_loop(key: Key[Array, ""], x: Float[Array, "n"]) -> Float[Array, "n"]:\n'
            "    for i in range(3):\n"
            "        x = x + draw({}, x.shape)\n"
            "    return x\n"
        ),
        "jax.random.fold_in(key, i)",
        "key",
    ),
    "key_under_vmap": (
        (
            'def key_under_vmap(key: Key[Array, ""], xs: Float[Array, "b n"]) -> Float[Array, "b n"]:\n'
            "    keys = jax.random.split(key, xs.shape[0])\n"
            "    return jax.vmap(lambda k, x: x + draw({}, x.shape))(keys, xs)\n"
        ),
        "k",
        "key",
    ),
    "raw_key": (
        (
            'def raw_key(key: UInt32[Array, "2"], x: Float[Array, "n"]) -> Float[Array, "n"]:\n'
            "    one, two = jax.random.split(key)\n"
            "    return x * draw(one, x.shape) + draw({}, x.shape)\n"
        ),
        "two",
        "one",
    ),
    # callables and trees
    "called": (
        (
            'def called(f: Callable[[Float[Array, "n"]], Float[Array, "m"]], x: Float[Array, "b n"])'
            ' -> Float[Array, "b m"]:\n'
            "    return {}\n"
        ),
        "jax.vmap(f)(x)",
        "f(x)",
    ),
    "trees": (
        (
            'def trees(params: PyTree[Float[Array, "?n"], "T"], grads: PyTree[Float[Array, "?n"], "T"])'
            ' -> PyTree[Float[Array, "?n"], "T"]:\n'
            "    return jax.tree.map(lambda p, g: {}, params, grads)\n"
        ),
        "p - 0.1 * g",
        "p - (0.1 * g).sum(keepdims=True)[None]",
    ),
}


def _source(name: str, wrong: bool) -> str:
    template, right, mistaken = PLANTED[name]
    return template.format(mistaken if wrong else right)


@functools.cache
def _report(folder: str, wrong: bool) -> Report:
    file = f"{folder}/{'wrong' if wrong else 'right'}_bodies.py"
    with open(file, "w") as out:
        out.write("\n\n".join([_HEAD, *(_source(name, wrong) for name in PLANTED)]))
    return _run.run([file])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("bodies"))


def _verdict(report: Report, name: str) -> tuple[str, str]:
    (result,) = [result for result in report if result.function.rpartition(".")[2] == name]
    return result.status, _text.plain(_text.result_lines(result))


@pytest.mark.parametrize("name", PLANTED)
def test_the_sound_body_is_good_and_the_mistaken_one_fails(folder, name):
    status, text = _verdict(_report(folder, wrong=False), name)
    assert status in ("proved", "checked"), text
    status, text = _verdict(_report(folder, wrong=True), name)
    assert status == "failed", text
