"""What functions with a derivative of their own have in common: their rules, their arrays, their results.

Serves `filter_custom_jvp` and `filter_custom_vjp`. All arrays of a call travel through JAX, those of
a bound module too, so that a rule that JAX runs later closes over no tracer.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax

from typedfilter._differentiating.targets import can_differentiate
from typedfilter._reading.plan import Param, Plan
from typedfilter._values.leaves import is_array
from typedfilter._values.memory import weakly
from typedfilter._values.split import split
from typedfilter._values.text import brief
from typedfilter._wrapping.body import body_for, body_of
from typedfilter._wrapping.stack import rewind, unwind
from typedfilter._wrapping.wrapper import Wrapper
from typedfilter.errors import RuleError, ShapeError

__all__ = [
    "Function",
    "Kind",
    "Operands",
    "Rules",
]


@dataclasses.dataclass(eq=False)
class Rules:
    """The rules of one function, by the names of the methods that define them.

    Shared by all wrappers of the function, those made before a rule is defined included.
    """

    names: tuple[str, ...]
    found: dict[str, Callable[..., Any]] = dataclasses.field(default_factory=dict[str, Any])

    WHAT: ClassVar[Mapping[str, str]] = {
        "def_jvp": "JVP rule",
        "def_fwd": "forward rule",
        "def_bwd": "backward rule",
    }

    def define(self, name: str, rule: Callable[..., Any], function: str) -> None:
        """Set a rule.

        Raises:
            RuleError: it is not callable.
        """
        if not callable(rule):
            raise RuleError(
                f"gets a {self.WHAT[name]} that is not callable",
                function=function,
                expected="a function",
                actual=repr(rule),
                fix=f"write @{_last(function)}.{name} above the rule",
            )
        self.found[name] = rule

    def get(self, function: str) -> list[Callable[..., Any]]:
        """All rules, in the order of their names.

        Raises:
            RuleError: one is not defined yet.
        """
        missing = [name for name in self.names if name not in self.found]
        if missing:
            above = " and ".join(f"@{_last(function)}.{name}" for name in missing)
            raise RuleError(
                f"has no {' and no '.join(self.WHAT[name] for name in missing)} yet",
                function=function,
                fix=f"write {above} above the rule{'s' if len(missing) > 1 else ''}, before the first call",
            )
        return [self.found[name] for name in self.names]


def _last(qualified: str) -> str:
    return qualified.rpartition(".")[2]


class Kind(enum.Enum):
    """What a rule does about the derivative with respect to an array."""

    DERIVED = "the rule takes care of it"
    FROZEN = "it is zero, as the annotation says"
    REFUSED = "there is none"


class Function:
    """The function under the rules: called with everything that it is bound to, and its arguments."""

    def __init__(self, wrapper: Wrapper, plan: Plan) -> None:
        unwound = unwind(wrapper.__wrapped__)
        self.bound = unwound.bound
        self._lent = wrapper.lent
        self._root = weakly(unwound.root) if wrapper.lent else lambda: unwound.root
        self._links = unwound.links
        self._plan = plan
        self._check = wrapper.transform.check
        body = body_of(wrapper, plan)
        self._checked = self._check and body is not wrapper.__wrapped__
        self._body = None if wrapper.lent else body

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any], bound: tuple[Any, ...]) -> Any:
        if self._body is not None and not bound:
            return self._body(*args, **kwargs)
        root = self._root()
        if root is None:
            raise RuleError(
                "is gone, and a derivative of what it was compiled into has to run it",
                function=self._plan.function,
                fix="keep a reference to it for as long as that is differentiated",
            )
        fn = rewind(root, self._links, bound, lent=self._lent)
        return body_for(fn, self._plan, check=self._check)(*args, **kwargs)

    def checks(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """A stand-in for the function, checked as it is where it is: the rule runs in its place."""
        return body_for(rule, self._plan, check=True) if self._checked else rule


class Operands:
    """The arrays of one call: a flat list, what becomes of the derivative of each, and everything else."""

    def __init__(
        self, plan: Plan, bound: tuple[Any, ...], args: Sequence[Any], kwargs: Mapping[str, Any], takes: int
    ) -> None:
        self.plan = plan
        marked = plan.diff_params()
        params = [plan.positional(index) for index in range(len(args))]
        kinds: list[Kind] = []
        for index, (arg, param) in enumerate(zip(args, params, strict=True)):
            frozen = bool(marked) and param not in marked
            kinds += [_kind(yes and not frozen, taken=index < takes) for yes in _inexact(arg, param)]
        for name in sorted(kwargs):  # as JAX flattens dictionaries
            kinds += [_kind(yes, taken=False) for yes in _inexact(kwargs[name], plan.keyword(name))]
        kinds += [_kind(yes, taken=False) for yes in _inexact(bound, None)]

        def take(leaves: list[Any]) -> list[bool]:
            pairs = zip(leaves, kinds, strict=True)
            return [is_array(leaf) or kind is not Kind.FROZEN for leaf, kind in pairs]

        self.arrays, self.rest = split((tuple(args), dict(kwargs), bound), take)
        self.kinds = [kinds[index] for index in self.rest.taken_at]

    def join(self, arrays: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...]]:
        """The positional and the keyword arguments and what is bound, with `arrays` in their places."""
        args, kwargs, bound = self.rest.join(arrays)
        return args, kwargs, bound

    def like_arguments(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """`values` in the structure of the positional arguments, `None` for all other leaves."""
        args: tuple[Any, ...] = self.rest.with_none(values)[0]
        return args

    def refuse(self, index: int, transform: str, fix: str) -> ShapeError:
        """The error for array number `index`, which is differentiated and must not be."""
        places = range(self.rest.treedef.num_leaves)
        (group, *path), _ = jax.tree_util.tree_leaves_with_path(self.rest.treedef.unflatten(places))[
            self.rest.taken_at[index]
        ]
        return ShapeError(
            f"is differentiated, but {transform} has no derivative with respect to it",
            function=self.plan.function,
            parameter=self._name(group.idx, path),
            expected="an array that nothing is differentiated with respect to",
            actual=f"a derivative with respect to {brief(self.arrays[index])}",
            fix=fix,
        )

    def _name(self, group: int, path: list[Any]) -> str:
        first, *inner = path
        if group == 0:
            name = self.plan.bind_names(first.idx + 1)[-1]
        else:  # what the function is bound to is a module, say
            name = first.key if group == 1 else "self"
        return name + jax.tree_util.keystr(tuple(inner)).removeprefix(".__self__")


def _inexact(tree: Any, param: Param | None) -> list[bool]:
    return can_differentiate(jax.tree_util.tree_leaves(tree), tree, param)


def _kind(inexact: bool, *, taken: bool) -> Kind:
    if not inexact:
        return Kind.FROZEN
    return Kind.DERIVED if taken else Kind.REFUSED
