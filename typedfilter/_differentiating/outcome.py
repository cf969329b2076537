"""What a function returns, beside what a rule returns in its place: the same structure and static values.

Serves `filter_custom_jvp` and `filter_custom_vjp`, where JAX compares arrays at most. The function
is evaluated for its structure alone, and only where something static could differ.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from typedfilter._differentiating.tangents import RETURNED
from typedfilter._values.carried import Carried
from typedfilter._values.fresh import refuse_late
from typedfilter._values.keys import exact_key
from typedfilter._values.leaves import as_struct, is_array
from typedfilter._values.nodes import is_leaf_def, one_level
from typedfilter._values.text import array_text, brief
from typedfilter._values.trees import flatten, same_structure
from typedfilter.errors import ShapeError

_NEEDS_A_VALUE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


class Outcome:
    """What one call of a function with rules results in, as far as JAX has run the function or a rule.

    Args:
        function: what it is called in messages.
        run: the function, of the flat arrays of the call.
    """

    def __init__(self, function: str, run: Callable[[Sequence[Any]], Any]) -> None:
        self.function = function
        self._run = run
        self._known: Any = None
        self._numbers = False  # whether what the rule got were Python numbers: so may be what it returns

    def primal(self, arrays: Sequence[Any]) -> Carried:
        """Run the function."""
        out = Carried.of_result(self._run(arrays)).comparable()
        refuse_late(out.rest.others, self.function)
        self._known = out.with_arrays(list(map(as_struct, out.arrays))).join()
        return out

    def of_rule(self, value: Any, arrays: Sequence[Any], rule: str, path: str) -> Carried:
        """What a rule returned, as the result of the function.

        Args:
            value: what it returned in the place of the result.
            arrays: what it was called with.
            rule: its name, for messages.
            path: where in what it returned `value` stands.

        Raises:
            ShapeError: the function returns something else.
        """
        if self._known is None and not all(map(is_array, jax.tree_util.tree_leaves(value))):
            self._evaluate(arrays)
        self._numbers = all(isinstance(one, (bool, int, float, complex)) for one in arrays)
        if self._known is not None:
            value = self._compared(self._known, value, rule, path)
        return Carried.of_result(value).comparable()

    def _evaluate(self, arrays: Sequence[Any]) -> None:
        try:
            jax.eval_shape(self.primal, arrays)
        except _NEEDS_A_VALUE:  # it branches on a value, which there is, since nothing is compiled
            self.primal(arrays)

    def _compared(self, expected: Any, found: Any, rule: str, path: str) -> Any:
        """`found`, with arrays for the Python numbers that stand in the place of an array."""
        keys, nodes, treedef = one_level(expected)
        _, others, other_def = one_level(found)
        if is_leaf_def(treedef):
            leaf = _like(expected, found, self._numbers) if is_leaf_def(other_def) else None
            if leaf is None:
                raise self._differs(expected, found, rule, path)
            return leaf[0]
        if not same_structure(treedef, other_def):
            raise self._differs(expected, found, rule, path)
        parts = [
            self._compared(node, other, rule, path + jax.tree_util.keystr(key))
            for key, node, other in zip(keys, nodes, others, strict=True)
        ]
        return treedef.unflatten(parts)

    def _differs(self, expected: Any, found: Any, rule: str, path: str) -> ShapeError:
        return ShapeError(
            f"at {path} is {_text(found)}, where {self.function} returns {_text(expected)}",
            function=rule,
            parameter=RETURNED,
            expected=_text(expected),
            actual=_text(found),
            fix="return from the rule what the function itself returns",
        )


def _like(expected: Any, found: Any, numbers: bool) -> tuple[Any] | None:
    """`found`, if it may stand where the function returns `expected`; a number as the array that is there.

    Where all is `numbers`, a number stays one.
    """
    if not isinstance(expected, jax.ShapeDtypeStruct):
        return (found,) if _is_same(expected, found) else None
    if isinstance(found, (bool, int, float, complex)):
        fits = expected.shape == () and jnp.can_cast(jnp.result_type(found), expected.dtype)
        return (found if numbers else jnp.asarray(found, expected.dtype),) if fits else None
    fits = getattr(found, "shape", None) == expected.shape and found.dtype == expected.dtype
    return (found,) if fits else None


def _is_same(one: Any, two: Any) -> bool:
    """Whether static values are the same as far as that can be told.

    Objects that are equal to themselves alone are made anew by each run of a function, so that they are told
    apart by their type; functions by their code.
    """
    if one is two:
        return True
    if type(one) is not type(two):
        return False
    if isinstance(one, types.FunctionType):
        return bool(one.__code__ == two.__code__)
    if isinstance(one, (type, types.BuiltinFunctionType, types.ModuleType)):
        return False
    if "__eq__" not in {name for cls in type(one).__mro__[:-1] for name in vars(cls)}:
        return True
    try:
        return bool(exact_key(one) == exact_key(two))
    except TypeError:  # unhashable
        return bool(one == two)


def _text(value: Any) -> str:
    if isinstance(value, jax.ShapeDtypeStruct):
        return f"an array {array_text(value.dtype, value.shape)}"
    if value is None or is_leaf_def(flatten(value)[1]):
        return "None" if value is None else brief(value)
    return f"{type(value).__name__} of {len(one_level(value)[0])}"
