"""What functions with a derivative of their own have in common: their rules, their arrays, their results.

Serves `filter_custom_jvp` and `filter_custom_vjp`. All arrays of a call travel through JAX, those of
a bound module too, so that a rule that JAX runs later closes over no tracer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax

from typedfilter._declarations import Check
from typedfilter._differentiating.targets import can_differentiate
from typedfilter._reading.callables import POSITIONAL
from typedfilter._reading.plan import Argument, Binding, Param, Plan
from typedfilter._values.leaves import as_struct, is_array, is_passed
from typedfilter._values.memory import weakly
from typedfilter._values.split import Rest, split
from typedfilter._values.text import brief, struct_text
from typedfilter._wrapping.body import body_for, body_of
from typedfilter._wrapping.call import Call
from typedfilter._wrapping.stack import rewind, unwind
from typedfilter._wrapping.wrapper import Wrapper
from typedfilter.errors import NoRuleError, RuleError, ShapeError


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

    PASSED: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "def_jvp": ("primals", "tangents"),
        "def_fwd": ("perturbed",),
        "def_bwd": ("residuals", "grad_out", "perturbed"),
    }

    def define(self, name: str, rule: Callable[..., Any], function: str, plan: Plan | None = None) -> None:
        """Set a rule.

        Args:
            plan: of the function, by which to see whether the rule takes what it will be passed.

        Raises:
            RuleError: it is not callable, or takes too few arguments.
        """
        if not callable(rule):
            raise RuleError(
                f"gets a {self.WHAT[name]} that is not callable",
                function=function,
                expected="a function",
                actual=repr(rule),
                fix=f"write @{_last(function)}.{name} above the rule",
            )
        if plan is not None:
            self._refuse_few(name, rule, function, plan)
        self.found[name] = rule

    def _refuse_few(self, name: str, rule: Callable[..., Any], function: str, plan: Plan) -> None:
        own = () if name == "def_jvp" else _needed(plan)
        passed = (*self.PASSED[name], *own)
        with contextlib.suppress(ValueError, TypeError):  # it does not tell its parameters
            signature = inspect.signature(rule)
            if not any(param.kind is param.VAR_POSITIONAL for param in signature.parameters.values()):
                takes = sum(param.kind in POSITIONAL for param in signature.parameters.values())
                if takes < len(passed):
                    raise RuleError(
                        f"gets a {self.WHAT[name]} that takes too few arguments",
                        function=function,
                        expected=f"a function of ({', '.join(passed)})",
                        actual=f"a function of ({', '.join(signature.parameters)})",
                        fix="let it take what it is passed: "
                        + ("both tuples" if name == "def_jvp" else "the arguments of the function come last"),
                    )

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


def _needed(plan: Plan) -> tuple[str, ...]:
    """The parameters that every call of a function passes, by position as a rule takes them."""
    params = (param for param in plan.params if param.kind in POSITIONAL)
    return tuple(param.name for param in params if param.default is Param.empty)


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
        self._check: Check = wrapper.transform.check
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
        return body_for(rule, self._plan, check=self._check) if self._checked else rule


class Operands:
    """The arrays of one call: a flat list, what becomes of the derivative of each, and everything else.

    Attributes:
        arrays: of the arguments, then of what the function is bound to.
        kinds: what the rule does about each.
    """

    def __init__(
        self, plan: Plan, bound: tuple[Any, ...], args: Sequence[Any], kwargs: Mapping[str, Any], takes: int
    ) -> None:
        self.plan = plan
        self.marked = plan.diff_params
        self.takes = takes  # so many arguments have a derivative
        self.kinds: list[Kind] = []
        places = iter(range(len(args)))
        self.taken = Call(args, kwargs).take(
            plan, lambda arg, leaves: self._take(next(places, None), arg, leaves)
        )
        self.within, self.bound = split(
            bound, lambda leaves: self._chosen(leaves, _inexact(bound, None), False)
        )
        self.arrays = [*self.taken.arrays, *self.within]

    def _take(self, place: int | None, argument: Argument, leaves: list[Any]) -> list[bool]:
        frozen = place is not None and bool(self.marked) and argument.param not in self.marked
        inexact = [yes and not frozen for yes in _inexact(argument.value, argument.param)]
        return self._chosen(leaves, inexact, place is not None and place < self.takes)

    def _chosen(self, leaves: list[Any], inexact: list[bool], derived: bool) -> list[bool]:
        kinds = [_kind(yes, taken=derived) for yes in inexact]
        pairs = zip(leaves, kinds, strict=True)
        chosen = [is_array(leaf) or kind is not Kind.FROZEN for leaf, kind in pairs]
        self.kinds += itertools.compress(kinds, chosen)
        return chosen

    def release(self) -> list[Any]:
        """The arrays, which are held no more: JAX keeps the rules for as long as what they were traced in."""
        arrays, count = self.arrays, len(self.taken.arrays)
        self.arrays = [as_struct(array) if is_passed(array) else array for array in arrays]
        self.taken.arrays, self.within = self.arrays[:count], self.arrays[count:]
        return arrays

    def join(self, arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any], tuple[Any, ...]]:
        """The positional and the keyword arguments and what is bound, with `arrays` in their places."""
        count = len(self.taken.arrays)
        return *self.taken.join(arrays[:count]), self.bound.join(arrays[count:])

    def like_arguments(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """`values` in the structure of the positional arguments, `None` for all other leaves."""
        return tuple(self.taken.trees(values[: len(self.taken.arrays)])[: self.taken.count])

    @property
    def first(self) -> Rest:
        """What is left of the first argument."""
        rest = self.taken.rests[0]
        assert isinstance(rest, Rest)
        return rest

    def refuse(self, index: int, transform: str, fix: str) -> NoRuleError:
        """The error for array number `index`, which is differentiated and must not be."""
        return NoRuleError(
            f"is differentiated, but {transform} has no derivative with respect to it",
            function=self.plan.function,
            parameter=self._name(index),
            expected="an array that nothing is differentiated with respect to",
            actual=f"a derivative with respect to {_text(self.arrays[index])}",
            fix=fix,
        )

    def _name(self, index: int) -> str:
        names = [*self.plan.bind_names(self.taken.count, self.taken.names), "self"]  # bound to a module, say
        start = 0
        for name, rest in zip(names, (*self.taken.rests, self.bound), strict=True):
            end = start + len(rest.taken_at)
            if index < end and isinstance(rest, Rest):
                tree = rest.join(self.arrays[start:end])
                path, _ = jax.tree_util.tree_leaves_with_path(tree)[rest.taken_at[index - start]]
                inner = path[1:] if rest is self.bound else path
                return name + jax.tree_util.keystr(inner).removeprefix(".__self__")
            start = end
        raise AssertionError("no such array")


def _text(value: Any) -> str:
    return f"an array {struct_text(value)}" if isinstance(value, jax.ShapeDtypeStruct) else brief(value)


def first_by_position(plan: Plan, call: Call) -> Call:
    """The arguments of a call, the first one by position, as rules get it.

    Raises:
        ShapeError: there is none.
    """
    first = plan.positionals[0] if plan.positionals else None
    if call.args or first is None:
        found: Call | None = call
    elif first.name in call.kwargs and first.kind is not first.kind.POSITIONAL_ONLY:
        others = {name: value for name, value in call.kwargs.items() if name != first.name}
        found = Call((call.kwargs[first.name],), others)
    elif first.default is not first.empty and plan.binding is Binding.FILLED:
        found = Call((first.default,), call.kwargs)
    else:
        found = None
    if found is None or not found.args:
        raise ShapeError(
            "is called without its first argument, which is what filter_custom_vjp differentiates",
            function=plan.function,
            expected="an argument by position",
            fix="pass it by position",
        )
    return found


def _inexact(tree: Any, param: Param | None) -> list[bool]:
    return can_differentiate(jax.tree_util.tree_leaves(tree), tree, param)


def _kind(inexact: bool, *, taken: bool) -> Kind:
    if not inexact:
        return Kind.FROZEN
    return Kind.DERIVED if taken else Kind.REFUSED
