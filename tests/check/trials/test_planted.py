"""Mistakes that people make, each planted in a sound function: the sound one is good, the other one fails.

The kinds are those that were planted in released code: transposes, axes, `keepdims`, slices, dtypes,
reductions, swapped operands and letters, numbers in the place of sizes, branches and loops.
"""

from __future__ import annotations

import dataclasses
import functools

import pytest

from typedfilter.check import Report
from typedfilter.check import run as _run
from typedfilter.check.report import text as _text

_HEAD = """\
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int
"""


@dataclasses.dataclass(frozen=True)
class Planted:
    """A function by its parameters and its result, with the right expression and the mistaken one."""

    name: str
    takes: str
    gives: str
    right: str
    wrong: str

    def source(self, body: str) -> str:
        return f"def {self.name}({self.takes}) -> {self.gives}:\n    return {body}\n"


F = "Float[Array, '{}']".format
X, XY, ABC = f"x: {F('n m')}", f"x: {F('n m')}, y: {F('m k')}", f"x: {F('a b c')}"

PLANTED = (
    # transposes
    Planted("weights", f"x: {F('b n')}, w: {F('m n')}", F("b m"), "x @ w.T", "x @ w"),
    Planted("forgotten", X, F("m n"), "x.T", "x"),
    Planted("needless", X, F("n m"), "x * 2", "x.T * 2"),
    Planted("gram", X, F("m m"), "x.T @ x", "x @ x.T"),
    Planted("result", XY, F("k n"), "(x @ y).T", "x @ y"),
    Planted(
        "heads", f"x: {F('b n h d')}", F("b h n d"), "x.transpose(0, 2, 1, 3)", "x.transpose(0, 2, 3, 1)"
    ),
    Planted("swapped_axes", ABC, F("a c b"), "jnp.swapaxes(x, 1, 2)", "jnp.swapaxes(x, 0, 2)"),
    Planted("moved_axis", ABC, F("c a b"), "jnp.moveaxis(x, -1, 0)", "jnp.moveaxis(x, 0, -1)"),
    Planted("outer", f"u: {F('n')}, v: {F('m')}", F("n m"), "jnp.outer(u, v)", "jnp.outer(v, u)"),
    # axes
    Planted("summed", X, F("n"), "x.sum(axis=1)", "x.sum(axis=0)"),
    Planted("averaged", ABC, F("a c"), "x.mean(axis=1)", "x.mean(axis=-1)"),
    Planted("largest", X, "Int[Array, 'n']", "x.argmax(axis=-1)", "x.argmax(axis=0)"),
    Planted(
        "stacked", f"x: {F('n')}, y: {F('n')}", F("n 2"), "jnp.stack([x, y], axis=-1)", "jnp.stack([x, y])"
    ),
    Planted(
        "joined",
        f"x: {F('a n')}, y: {F('b n')}",
        F("a+b n"),
        "jnp.concatenate([x, y])",
        "jnp.concatenate([x, y], axis=1)",
    ),
    Planted("repeated", X, F("n 2*m"), "jnp.repeat(x, 2, axis=1)", "jnp.repeat(x, 2, axis=0)"),
    Planted(
        "split_off", f"x: {F('n 2*m')}", F("n m"), "jnp.split(x, 2, axis=1)[0]", "jnp.split(x, 2, axis=0)[0]"
    ),
    Planted("new_axis", f"x: {F('n m')}, s: {F('n')}", F("n m"), "x * s[:, None]", "x * s[None, :]"),
    Planted("expanded", f"x: {F('n')}", F("n 1"), "jnp.expand_dims(x, -1)", "jnp.expand_dims(x, 0)"),
    Planted(
        "taken",
        f"x: {F('n m')}, i: Int[Array, 'k']",
        F("n k"),
        "jnp.take(x, i, axis=1)",
        "jnp.take(x, i, axis=0)",
    ),
    Planted(
        "mapped", XY, F("n k"), "jax.vmap(lambda r: r @ y)(x)", "jax.vmap(lambda r: r @ y, in_axes=1)(x)"
    ),
    Planted(
        "mapped_out", X, F("m n"), "jax.vmap(lambda r: r * 2, out_axes=1)(x)", "jax.vmap(lambda r: r * 2)(x)"
    ),
    # keepdims
    Planted("centred", X, F("n m"), "x - x.mean(1, keepdims=True)", "x - x.mean(1)"),
    Planted(
        "normed",
        X,
        F("n m"),
        "x / jnp.linalg.norm(x, axis=-1, keepdims=True)",
        "x / jnp.linalg.norm(x, axis=-1)",
    ),
    Planted("kept", X, F("n"), "x.max(axis=1)", "x.max(axis=1, keepdims=True)"),
    Planted("total", X, F(""), "x.sum()", "x.sum(keepdims=True)"),
    # slices and off-by-one
    Planted("differences", f"x: {F('n')}", F("n-1"), "x[1:] - x[:-1]", "x[1:] - x[:-2]"),
    Planted("shifted", f"x: {F('n')}", F("n-1"), "x[1:]", "x"),
    Planted("inner", f"x: {F('n')}", F("n-2"), "x[1:-1]", "x[1:]"),
    Planted("row", X, F("m"), "x[0]", "x[:1]"),
    Planted("column", X, F("n"), "x[:, 0]", "x[0, :]"),
    Planted(
        "edges",
        f"x: {F('n')}",
        F("n+1"),
        "jnp.linspace(0.0, 1.0, x.shape[0] + 1)",
        "jnp.linspace(0.0, 1.0, x.shape[0])",
    ),
    Planted("padded", f"x: {F('n')}", F("n+2"), "jnp.pad(x, 1)", "jnp.pad(x, (0, 1))"),
    Planted("every_other", f"x: {F('2*n')}", F("n"), "x[::2]", "x[:2]"),
    Planted(
        "windows",
        f"x: {F('n')}, k: {F('k')}",
        F("n-k+1"),
        "x[k.shape[0] - 1 :] * k[0]",
        "x[k.shape[0] :] * k[0]",
    ),
    # dtypes
    Planted("truth", X, "Bool[Array, 'n m']", "x > 0", "(x > 0) * x"),
    Planted("indices", f"x: {F('n')}", "Int[Array, 'n']", "jnp.argsort(x)", "jnp.sort(x)"),
    Planted("spectrum", f"x: {F('n')}", "Complex[Array, 'n']", "jnp.fft.fft(x)", "jnp.abs(jnp.fft.fft(x))"),
    Planted("power", f"x: {F('n')}", F("n"), "jnp.abs(jnp.fft.fft(x)) ** 2", "jnp.fft.fft(x) ** 2"),
    Planted("rounded", f"x: {F('n')}", "Int[Array, 'n']", "jnp.round(x).astype(int)", "jnp.round(x)"),
    # reductions
    Planted("forgotten_mean", X, F(""), "(x**2).mean()", "x**2"),
    Planted("half_mean", X, F(""), "x.mean()", "x.mean(axis=0)"),
    Planted("too_much", X, F("n"), "x.std(axis=1)", "x.std()"),
    Planted("log_sum", X, F("n"), "jax.nn.logsumexp(x, axis=1)", "jax.nn.logsumexp(x)"),
    Planted("softmax", X, F("n m"), "jax.nn.softmax(x)", "jax.nn.logsumexp(x, axis=-1)"),
    Planted("trace", f"x: {F('n n')}", F(""), "jnp.trace(x)", "jnp.diag(x)"),
    # operands and letters
    Planted("order", XY, F("n k"), "x @ y", "y @ x"),
    Planted("letters", XY, F("n k"), "jnp.einsum('nm,mk->nk', x, y)", "jnp.einsum('nm,mk->kn', x, y)"),
    Planted("letter", XY, F("n k"), "jnp.einsum('nm,mk->nk', x, y)", "jnp.einsum('nm,km->nk', x, y)"),
    Planted(
        "solved",
        f"a: {F('n n')}, b: {F('n k')}",
        F("n k"),
        "jnp.linalg.solve(a, b)",
        "jnp.linalg.solve(b, a)",
    ),
    Planted(
        "attention",
        f"q: {F('n d')}, k: {F('m d')}, v: {F('m e')}",
        F("n e"),
        "jax.nn.softmax(q @ k.T) @ v",
        "jax.nn.softmax(k @ q.T) @ v",
    ),
    # numbers in the place of sizes
    Planted("ones", f"x: {F('n')}", F("n"), "x + jnp.ones(x.shape)", "x + jnp.ones(3)"),
    Planted("eye", f"x: {F('n n')}", F("n n"), "x + jnp.eye(x.shape[0])", "x + jnp.eye(4)"),
    Planted("reshaped", f"x: {F('n 4')}", F("4*n"), "x.reshape(-1)", "x.reshape(2, -1)"),
    Planted(
        "wrong_size",
        X,
        F("n m"),
        "jnp.zeros((x.shape[0], x.shape[1]))",
        "jnp.zeros((x.shape[1], x.shape[0]))",
    ),
    # others
    Planted(
        "branch", f"x: {F('n')}, y: {F('n')} | None = None", F("n"), "x if y is None else x + y", "x + y"
    ),
    Planted("number", X, F("n m"), "x if x.shape[0] != 7 else x + 0", "x if x.shape[0] != 7 else x[1:]"),
    Planted(
        "chosen",
        f"x: {F('n')}, sums: bool",
        f"{F('n')} | {F('')}",
        "x.sum() if sums else x",
        "x[None] if sums else x",
    ),
    Planted(
        "scanned",
        X,
        F("n m"),
        "jax.lax.scan(lambda c, r: (c + r, c), x[0] * 0, x)[1]",
        "jax.lax.scan(lambda c, r: (c + r, c), x[0] * 0, x)[0]",
    ),
)


@functools.cache
def _report(folder: str, wrong: bool) -> Report:
    file = f"{folder}/{'wrong' if wrong else 'right'}_functions.py"
    bodies = [one.source(one.wrong if wrong else one.right) for one in PLANTED]
    with open(file, "w") as out:
        out.write("\n\n".join([_HEAD, *bodies]))
    return _run.run([file])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("planted"))


def _verdict(report: Report, name: str) -> tuple[str, str]:
    (result,) = [result for result in report if result.function == name]
    return result.status, _text.plain(_text.result_lines(result))


def test_there_are_as_many_kinds_as_were_planted_in_released_code():
    assert len({one.name for one in PLANTED}) == 58


@pytest.mark.parametrize("planted", PLANTED, ids=lambda one: one.name)
def test_the_sound_function_is_good_and_the_planted_mistake_is_found(folder, planted):
    status, text = _verdict(_report(folder, wrong=False), planted.name)
    assert status in ("proved", "checked"), text
    assert "fix:" not in text  # it is good to the letter
    status, text = _verdict(_report(folder, wrong=True), planted.name)
    assert status == "failed", text
