"""Each law finds what it is for: where the library does one thing wrong, one of its programs fails."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from strategies import laws, prelude, signatures, sources
from strategies.programs import Program, hold
from strategies.table import LAWS

from typedfilter._compiling import modes, results, traced
from typedfilter._differentiating import targets
from typedfilter._mapping import axes
from typedfilter._reading import fields, plan, roles
from typedfilter._values import dictionaries, keys, layouts, leaves, split, trees
from typedfilter._values.memory import ByClass
from typedfilter._wrapping import stack

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]

SPLIT, GRADIENTS, MAPS, STATICS, HISTORIES, JITTED, MAPPED, DIFFERENTIATED, STACKS = LAWS


def replaced(fn: Any, mutant: Any) -> Mutant:
    """A function replaced in all modules of the library that have it."""

    def mutate(patch: Patch) -> None:
        for name, module in list(sys.modules.items()):
            if name.startswith("typedfilter"):
                for key in [key for key, value in vars(module).items() if value is fn]:
                    patch.setattr(module, key, mutant)

    return mutate


def changed(fn: Callable[..., Any], change: Callable[..., Any]) -> Mutant:
    """A function whose result is `change(result, *args)`."""

    @functools.wraps(fn)
    def mutant(*args: Any, **kwargs: Any) -> Any:
        return change(fn(*args, **kwargs), *args)

    return replaced(fn, mutant)


def method(cls: type, name: str, change: Callable[..., Any]) -> Mutant:
    """A method whose result is `change(result, self, *args)`."""
    whole = getattr(cls, name)

    def mutant(self: Any, *args: Any, **kwargs: Any) -> Any:
        return change(whole(self, *args, **kwargs), self, *args)

    return lambda patch: patch.setattr(cls, name, mutant)


def of_classes(table: ByClass[Any], change: Callable[[type, Any], Any]) -> Mutant:
    """What a table says of a class is `change(cls, what it said)`."""
    compute = table._compute
    return lambda patch: patch.setattr(table, "_compute", lambda cls: change(cls, compute(cls)))


def by_equality(maker: str) -> Mutant:
    """Values that have keys of their own are compared by `==` alone."""
    return lambda patch: patch.setattr(keys, maker, keys._opaque_key)


def marks(**values: Any) -> Mutant:
    """Marks of fields say something else."""
    return changed(
        fields.leaf_marks, lambda found, _: [dataclasses.replace(mark, **values) for mark in found]
    )


def by_identity(found: list[fields.LeafMark], tree: Any) -> list[fields.LeafMark]:
    first: dict[int, fields.LeafMark] = {}
    return [first.setdefault(id(leaf), mark) for leaf, mark in zip(jax.tree.leaves(tree), found, strict=True)]


def strong(value: Any) -> Any:
    """An array whose type is not weak."""
    is_weak = isinstance(value, jax.Array) and value.weak_type
    return jax.lax.convert_element_type(value, value.dtype) if is_weak else value


def without_axis(argument: plan.Argument) -> plan.Argument:
    if argument.param is None:
        return argument
    hint = dataclasses.replace(argument.param.hint, axis=None)
    return argument._replace(param=dataclasses.replace(argument.param, hint=hint))


IS_ARRAY_TYPE: Any = leaves.leaf_is_array_type
GETTER, REWIND, TAKEN_JOIN = layouts.getter, stack.rewind, split.Taken.join
MUTANTS: dict[str, tuple[str, Mutant]] = {
    # Leaves and nodes of trees.
    "NumPy's scalars are static": (
        SPLIT,
        of_classes(IS_ARRAY_TYPE.__self__, lambda cls, said: said and not issubclass(cls, np.generic)),
    ),
    "bfloat16, float8 and int4 are no arrays": (
        SPLIT,
        replaced(leaves._is_traceable, lambda dtype: dtype.kind in "biufc"),
    ),
    "results lose weak types": (
        SPLIT,
        lambda patch: patch.setattr(
            results,
            "split_where",
            lambda *args: (list(map(strong, split.split_where(*args)[0])), split.split_where(*args)[1]),
        ),
    ),
    "nodes are compared without their classes": (
        SPLIT,
        replaced(trees.same_structure, lambda one, two: bool(one == two)),
    ),
    "arrays are put back in another order": (
        SPLIT,
        lambda patch: patch.setattr(layouts, "getter", lambda at: GETTER(at[::-1])),
    ),
    "fields marked NoDiff are differentiated": (GRADIENTS, marks(diff=None)),
    "one array has one mark, in whatever fields it is": (GRADIENTS, changed(fields.leaf_marks, by_identity)),
    "NumPy's arrays have no gradients": (
        GRADIENTS,
        changed(leaves.is_inexact_array, lambda said, leaf: said and isinstance(leaf, jax.Array)),
    ),
    "bfloat16 has no gradients": (GRADIENTS, replaced(leaves._is_inexact, lambda dtype: dtype.kind in "fc")),
    "NumPy's arrays are not mapped": (
        MAPS,
        changed(leaves.is_array_or_ref, lambda said, leaf: said and isinstance(leaf, jax.Array)),
    ),
    "keys of random numbers are not mapped": (
        MAPS,
        changed(
            leaves.is_array_or_ref,
            lambda said, leaf: said and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key),
        ),
    ),
    # Static values.
    **{
        f"values of {maker} are compared by ==": (STATICS, by_equality(maker))
        for maker in (
            *("_float_key", "_complex_key", "_container_key", "_fields_key", "_span_key", "_decimal_key"),
            *("_moment_key", "_zone_key", "_alias_key", "_view_key", "_code_key", "_pickled_key"),
        )
    },
    "a NaN equals nothing": (
        STATICS,
        lambda patch: patch.setattr(keys, "_float_key", lambda cls, value, _: (cls, value, str(value))),
    ),
    "keys of dictionaries are compared by ==": (
        STATICS,
        replaced(dictionaries.exact_dict_keys, lambda tree, dicts: ()),
    ),
    "the object seen first stands for all": (HISTORIES, replaced(keys.stays_equal, lambda value: True)),
    # Signatures.
    "numbers that are traced are not weak": (
        JITTED,
        changed(traced.opened, lambda found, _: strong(found)),
    ),
    "an optional annotation says nothing": (
        JITTED,
        lambda patch: patch.setattr(roles.RoleTable, "_of_union", lambda self, members: roles._BY_RULE),
    ),
    "a container of arrays says nothing": (
        JITTED,
        lambda patch: patch.setattr(roles, "_of_members", lambda rows: roles._BY_RULE),
    ),
    "VmapAxis on a parameter is not heard": (
        MAPPED,
        method(plan.Plan, "arguments", lambda found, *_: list(map(without_axis, found))),
    ),
    "axes are counted from the other end": (
        MAPPED,
        changed(axes._leaf_axes, lambda found, *_: [~axis if (axis or 0) < 0 else axis for axis in found]),
    ),
    "numbers that are traced are mapped": (
        MAPPED,
        replaced(axes._without_numbers, lambda role, value, leaves, axes, example: list(axes)),
    ),
    "only the first of several Diff is heard": (
        DIFFERENTIATED,
        method(plan.Plan, "diff_params", lambda found, self: found[:1]),
    ),
    "gradients of several arguments come in another order": (
        DIFFERENTIATED,
        method(
            targets.Selected,
            "like_arguments",
            lambda found, self, _: found[::-1] if self.several else found,
        ),
    ),
    "Diff is not heard": (DIFFERENTIATED, method(plan.Plan, "diff_params", lambda found, self: ())),
    # Styles of calls.
    "an argument by position is the one after it": (
        JITTED,
        method(
            plan.Plan, "positional", lambda found, self, at: dict(enumerate(self.positionals)).get(at + 1)
        ),
    ),
    "an argument by name is traced": (
        JITTED,
        replaced(modes.passed_by_name, lambda mode: modes.Mode.TRACED if mode is modes.Mode.STATIC else mode),
    ),
    "a partial binds its arguments backwards": (
        JITTED,
        method(
            stack.Unwound,
            "then",
            lambda found, self, _, *bound: dataclasses.replace(found, bound=self.bound + bound[::-1]),
        ),
    ),
    "a wrapper by functools.wraps is what it wraps": (
        JITTED,
        replaced(plan.is_wrapper, lambda fn: False),
    ),
    # Stacks.
    "the outermost of several transforms below jit is lost": (
        STACKS,
        replaced(
            stack.rewind,
            lambda root, links, *rest, **how: REWIND(
                root, links[:-1] if len(links) > 1 else links, *rest, **how
            ),
        ),
    ),
    "what is lifted takes its arrays backwards": (
        STACKS,
        lambda patch: patch.setattr(split.Taken, "join", lambda self, arrays: TAKEN_JOIN(self, arrays[::-1])),
    ),
}


def families_of(maker: str) -> list[tuple[str, ...]]:
    """The families of static values whose keys this makes."""
    made = getattr(keys, maker)
    return [
        family
        for family in sources.FAMILIES
        if any(keys._KEY_MAKERS[type(eval(value, vars(prelude)))] is made for value in family)
    ]


# Of static values, and of styles of calls, those that a fault is about: all of them take a minute.
MAKERS = {name: name.split()[2] for name in MUTANTS if name.startswith("values of ")}
MAKERS["a NaN equals nothing"] = "_float_key"
MAKERS["values of _zone_key are compared by =="] = "_moment_key"  # which ask those of their zones
PROGRAMS: dict[str, Callable[[], st.SearchStrategy[Program]]] = {
    **{
        name: functools.partial(laws.static_values, sources.one_of(families_of(maker)))
        for name, maker in MAKERS.items()
    },
    "an argument by position is the one after it": functools.partial(signatures.jitted, ["plain", "method"]),
    "an argument by name is traced": functools.partial(signatures.jitted, ["plain", "class method"]),
    "a partial binds its arguments backwards": functools.partial(signatures.jitted, ["partial below"]),
    "a wrapper by functools.wraps is what it wraps": functools.partial(signatures.jitted, ["wraps"]),
}


def forget() -> None:
    """Leave nothing of what was found out: neither by the library as it is, nor as it was for a while."""
    for name, module in list(sys.modules.items()):
        if name.startswith("typedfilter"):
            for value in list(vars(module).values()):
                table = getattr(value, "__self__", value)
                if isinstance(table, ByClass):
                    table.clear()
                    table._dropped_with_their_class.clear()
    for value in vars(prelude).values():
        if isinstance(value, types.FunctionType) and value.__module__ == prelude.__name__:
            vars(value).clear()
    jax.clear_caches()


@pytest.fixture
def patch() -> Iterator[Patch]:
    with pytest.MonkeyPatch.context() as patch:
        forget()
        yield patch
    forget()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_law_fails_where_the_library_is_wrong(mutant: str, patch: Patch):
    law, mutate = MUTANTS[mutant]
    programs, count = LAWS[law]
    programs = PROGRAMS.get(mutant, programs)
    mutate(patch)
    with pytest.raises(BaseException) as caught:
        # More than the law tries: Hypothesis draws other programs whenever a source changes.
        hold(programs(), 3 * count, phases=[Phase.generate])
    assert any("The program, to be pasted" in note for note in caught.value.__notes__)
