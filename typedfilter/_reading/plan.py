"""A callable and its annotations in, one frozen `Plan` out, resolved once.

Knows signatures, hints and how Python binds arguments; knows nothing of values, leaves or JAX's transforms.
Which contradictions a transform refuses stands in `conflicts`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any, ClassVar, NamedTuple

from typedfilter._reading import callables
from typedfilter._reading.forms import inside, is_annotated
from typedfilter._reading.hints import UNANNOTATED, Hint, class_hints, named, parse, refuse_lost_marker
from typedfilter._reading.names import Scope
from typedfilter._reading.roles import Role
from typedfilter._reading.text import show
from typedfilter._reading.wrappers import is_method, is_proxy, is_wrapper, unwrapped
from typedfilter._values.memory import Attached
from typedfilter._values.uncallable import UncallableError
from typedfilter.annotations import Marker
from typedfilter.errors import AnnotationError


def plan_of(fn: Any, *, final: bool = False) -> Plan:
    """The plan of any callable; the same object while somebody uses it, once every name is found.

    Call it again at the first call where the plan is not `complete`: names that are defined later are then
    found, and what was found before is kept, since frames that held a local alias may be gone.

    Args:
        final: no name will be defined any more: what is still missing stays unknown, the plan is complete,
            and what may hide a marker is refused.

    Raises:
        AnnotationError: an annotation contradicts itself or can't be read; function and parameter are named.
        UncallableError: `fn` is not callable.
    """
    plan = _plan_of(fn, final)
    if final:
        refuse_lost_markers(plan)
    return plan


def _plan_of(fn: Any, final: bool) -> Plan:
    own = getattr(type(fn), "__typedfilter_plan__", None)
    if own is not None:
        plan: Plan = own(fn)
        return plan.as_written
    if is_proxy(fn) and callable(fn):  # what it shows of itself is what it wraps
        return _resolved(callables.name_of(fn), callables.ANYTHING, Scope(), has_signature=False).as_written
    if isinstance(fn, staticmethod | classmethod):
        return _plan_of(fn.__func__, final)
    if not callable(fn):
        raise UncallableError(fn)
    if is_method(fn):
        return _of_method(fn, final).without_first()
    if isinstance(fn, functools.partial):
        base = _plan_of(fn.func, final)
        return base.with_signature(
            callables.partly_bound(base.function, base.signature, fn.args, fn.keywords)
        )
    if isinstance(fn, type):
        return _of_class(fn)
    inside = unwrapped(fn)
    if inside is not fn and type(inside) is not types.FunctionType:  # what it says of itself is for people
        return _around(_plan_of(inside, final), fn)
    call = callables.own_call(fn)
    if call is None:
        return _of_function(fn, final)
    plan = _plan_of(call, final)
    return _around(plan, fn) if is_wrapper(fn) else plan


def _around(plan: Plan, fn: Any) -> Plan:
    """The plan of a wrapper that is called as `plan` says: what is left out stays out."""
    binding = plan.binding if plan.binding is Binding.KEPT else Binding.PLACED
    return dataclasses.replace(plan, function=callables.name_of(fn), binding=binding)


def _of_method(method: types.MethodType, final: bool) -> Plan:
    if isinstance(method.__func__, types.FunctionType):
        return _of_function(method.__func__, final, callables.method_owner(method))
    return _plan_of(method.__func__, final)


def _of_function(fn: Any, final: bool, owner: type | None = None) -> Plan:
    cache = _plans.of(fn)
    before = cache["plan"]() if "plan" in cache else None
    if before is not None and before.complete:
        return before
    signature = callables.signature_of(fn)
    name = callables.name_of(fn)
    if signature is None:
        return _resolved(name, callables.ANYTHING, Scope(), has_signature=False).as_written
    scope = Scope.of_function(fn, owner, before.kept if before is not None else None)
    plan = dataclasses.replace(_resolved(name, signature, scope), binding=_binding(fn))
    if final and not any(hint.opaque for _, hint in plan.by_name):  # else it is refused, until it is mended
        plan = dataclasses.replace(plan, complete=True, kept={})
    _remember(cache, fn, plan)
    return plan


def _of_class(cls: type) -> Plan:
    signature = callables.signature_of(cls)
    name = callables.name_of(cls)
    if signature is None:
        return _resolved(name, callables.ANYTHING, Scope(), has_signature=False).as_written
    # What a dataclass or NamedTuple writes for itself has the annotations of its fields, strings and all.
    written = {field.name: field.type for field in getattr(cls, "__dataclass_fields__", {}).values()}
    fields = class_hints(cls) if written or hasattr(cls, "_fields") else {}
    known = {
        param.name: fields[param.name]
        for param in signature.parameters.values()
        if param.name in fields and written.get(param.name, param.annotation) is param.annotation
    }
    scope = callables.constructor_scope(cls)
    return _resolved(name, signature.replace(return_annotation=cls), scope, known).as_written


def _binding(fn: Any) -> Binding:
    if callables.says(unwrapped(fn)):
        return Binding.KEPT  # its code may take anything
    if is_wrapper(fn):
        return Binding.PLACED
    return Binding.FILLED if isinstance(fn, types.FunctionType) else Binding.KEPT


def _resolved(
    name: str, signature: Signature, scope: Scope, known: Mapping[str, Hint] = {}, has_signature: bool = True
) -> Plan:
    params: list[Param] = []
    for param in signature.parameters.values():
        with named(name, param.name):
            hint = known[param.name] if param.name in known else parse(param.annotation, scope)
            _refuse_marked_default(param)
        params.append(Param(param.name, param.kind, hint, param.default))
    with named(name, "return"):
        returns = _returned(signature.return_annotation, scope)
    plan = Plan(name, tuple(params), returns, signature, has_signature)
    complete = not any(hint.unresolved for _, hint in plan.by_name)
    kept = {} if complete else dict(scope.used)
    return dataclasses.replace(plan, complete=complete, kept=kept)


def _refuse_marked_default(param: Parameter) -> None:
    """A marker that stands behind `=`, where it would be the value: `n=Static[int]`."""
    if is_annotated(param.default) and any(isinstance(item, Marker) for item in inside(param.default)):
        shown = show(param.default)
        raise AnnotationError(f"has {shown} as its default", fix=f"write `{param.name}: {shown}`")


def _returned(annotation: Any, scope: Scope) -> Hint:
    hint = parse(annotation, scope, returned=True)
    if hint.donate or hint.static_marker or hint.role is Role.TRACED or hint.diff is not None:
        shown = show(hint.annotation)
        problem = (
            f"is annotated {shown}, but a result takes no marker but VmapAxis, ScanAxis and PartitionSpec"
        )
        raise AnnotationError(problem, fix="drop the marker")
    return hint


def refuse_lost_markers(plan: Plan) -> None:
    """Raise `AnnotationError` where a marker may hide behind a name that is not defined."""
    for name, hint in plan.by_name:
        refuse_lost_marker(hint, plan.function, name)


# The cache ----------------------------------------------------------------------------------------------
# A plan is kept as long as its function lives. Through a local class, or a default, it may refer to that: so
# it hangs on the function itself; where it can't, it is held weakly, and lives while somebody uses it.

_plans: Attached[dict[str, Callable[[], Plan | None]]] = Attached("__typedfilter_plans__", dict)


def _remember(cache: dict[str, Callable[[], Plan | None]], fn: Any, plan: Plan) -> None:
    strongly = isinstance(fn, types.FunctionType) or not plan.complete  # of a part, nobody else has it yet
    cache["plan"] = (lambda: plan) if strongly else weakref.ref(plan)


def _if_marked(hint: Hint) -> Hint:
    return hint if hint.marked else UNANNOTATED


def _by_rule(hint: Hint) -> Hint:
    if hint.marked:
        return hint
    return dataclasses.replace(hint, role=UNANNOTATED.role, differentiable=UNANNOTATED.differentiable)


class Binding(enum.Enum):
    """What may be done to the arguments of a call before a callable gets them.

    To a wrapper, and to whatever is no function at all, an argument that is passed is not one that is left
    out, and a keyword is not a position.
    """

    FILLED = "filled"  # a plain function: each in its place, and defaults in the places left out
    PLACED = "placed"  # a wrapper's own parameters are known: each in its place, what is left out stays out
    KEPT = "kept"  # anything else: as the caller wrote them


@dataclasses.dataclass(frozen=True)
class Param:
    """One parameter of the user's function."""

    name: str
    kind: Any  # inspect.Parameter.kind
    hint: Hint
    default: Any = Parameter.empty

    empty: ClassVar[Any] = Parameter.empty

    @property
    def variadic(self) -> bool:
        """Whether this is `*args` or `**kwargs`."""
        return self.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class Argument(NamedTuple):
    """One argument of a call: what messages call it, the parameter that takes it, and its value."""

    name: str
    param: Param | None
    value: Any


_MAX_LAYOUTS = 256  # forms of calls; of a function that is called in more, they are found again


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the signature of one callable says, resolved once."""

    function: str  # the qualified name, for messages
    params: tuple[Param, ...]
    returns: Hint
    signature: Signature
    has_signature: bool = True  # False for builtins without one: then (*args, **kwargs), all AUTO
    binding: Binding = Binding.FILLED
    complete: bool = True  # False while a name may still be defined later: resolve again at the first call
    kept: Mapping[str, Any] = dataclasses.field(
        default_factory=dict[str, Any]
    )  # of a plan that is not complete
    notes: dict[Any, Any] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)
    """What others have made of the plan once, by keys of theirs: it lives as long as the plan does."""

    @property
    def by_name(self) -> tuple[tuple[str, Hint], ...]:
        """What is said of each parameter, and last of the `return`."""
        return *((param.name, param.hint) for param in self.params), ("return", self.returns)

    @functools.cached_property
    def placing(self) -> tuple[Hint, ...]:
        """Those hints that say where arrays are to be."""
        return tuple(hint for _, hint in self.by_name if hint.sharding is not None)

    @functools.cached_property
    def positionals(self) -> tuple[Param, ...]:
        """The parameters that can be passed by position, `*args` not among them."""
        return tuple(param for param in self.params if param.kind in callables.POSITIONAL)

    @functools.cached_property
    def var_positional(self) -> Param | None:
        """`*args`."""
        return self._only(Parameter.VAR_POSITIONAL)

    @functools.cached_property
    def var_keyword(self) -> Param | None:
        """`**kwargs`."""
        return self._only(Parameter.VAR_KEYWORD)

    def positional(self, index: int) -> Param | None:
        """The parameter that takes the positional argument `index`; `None` if none does."""
        return self.positionals[index] if index < len(self.positionals) else self.var_positional

    def keyword(self, name: str) -> Param | None:
        """The parameter that takes the keyword argument `name`, `**kwargs` included; `None` if none does."""
        return self._keywords.get(name, self.var_keyword)

    def seen_by_class(self) -> tuple[Param, ...]:
        """The parameters of whose arguments a call has to look at the class: their annotations leave it open.

        Of a static one too, since numbers of two classes may be equal; what `*args` takes may be anything.
        """
        return tuple(
            param
            for param in self.params
            if param.variadic or param.hint.role is Role.STATIC or param.hint.is_open
        )

    @property
    def counts(self) -> tuple[str, ...]:
        """The names of the parameters that are annotated to be whole numbers."""
        return tuple(param.name for param in self.params if param.hint.kind.hint is int)

    @functools.cached_property
    def diff_params(self) -> tuple[Param, ...]:
        """The parameters that are marked `Diff`, in order."""
        return tuple(param for param in self.params if param.hint.diff is True)

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Argument]:
        """The arguments of a call in its order, each with its name and its parameter.

        What does not fit the parameters has none: to refuse it is for Python, when the function is called.
        """
        layout = self.layout(len(args), tuple(kwargs))
        return [
            Argument(*place, value) for place, value in zip(layout, (*args, *kwargs.values()), strict=True)
        ]

    def bind_names(self, nargs: int, kwnames: Iterable[str] = ()) -> list[str]:
        """For messages: what each argument of a call is called, `args[2]` for a variadic one."""
        return [name for name, _ in self.layout(nargs, tuple(kwnames))]

    def layout(self, count: int, names: tuple[str, ...]) -> list[tuple[str, Param | None]]:
        """The name and parameter of each argument of a call with so many by position, and these by name."""
        found = self._layouts.get((count, names))
        if found is None:
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            places = [(self._name_at(i), self.positional(i)) for i in range(count)]
            found = [*places, *((self._name_by(name), self.keyword(name)) for name in names)]
            self._layouts[count, names] = found
        return found

    @functools.cached_property
    def _layouts(self) -> dict[tuple[int, tuple[str, ...]], list[tuple[str, Param | None]]]:
        return {}

    def _name_at(self, index: int) -> str:
        fixed = len(self.positionals)
        rest = self.var_positional.name if self.var_positional is not None else "args"
        return self.positionals[index].name if index < fixed else f"{rest}[{index - fixed}]"

    def _name_by(self, name: str) -> str:
        """That of an argument that is passed by name; `k['x']` for `f(1, x=2)` of `f(x, /, **k)`."""
        by_place = any(param.name == name for param in self.positionals) and name not in self._keywords
        return f"{self.var_keyword.name}[{name!r}]" if by_place and self.var_keyword is not None else name

    @functools.cached_property
    def as_written(self) -> Plan:
        """This plan, of a callable to which a call is passed on as the caller wrote it."""
        return self if self.binding is Binding.KEPT else dataclasses.replace(self, binding=Binding.KEPT)

    @functools.cached_property
    def marked_only(self) -> Plan:
        """This plan as if nothing was annotated but by markers."""
        params = [dataclasses.replace(param, hint=_if_marked(param.hint)) for param in self.params]
        return dataclasses.replace(self, params=tuple(params), returns=_if_marked(self.returns))

    @functools.cached_property
    def by_rule(self) -> Plan:
        """This plan, where no marker says anything, with the rule for arguments without annotations."""
        params = [dataclasses.replace(param, hint=_by_rule(param.hint)) for param in self.params]
        found = dataclasses.replace(self, params=tuple(params), returns=_by_rule(self.returns))
        return self if found == self else found

    def without_first(self) -> Plan:
        """The plan of a method when it is bound: without its first positional parameter, if it has one."""
        return self._bound

    def with_first(self, name: str) -> Plan:
        """This plan with a parameter in front that is not annotated and passed by position."""
        first = Parameter(name, Parameter.POSITIONAL_ONLY)
        signature = self.signature.replace(parameters=[first, *self.signature.parameters.values()])
        params = (Param(name, first.kind, UNANNOTATED), *self.params)
        return dataclasses.replace(self, params=params, signature=signature)

    def with_signature(self, signature: Signature) -> Plan:
        """This plan for a signature with some of its parameters, of other kinds or with other defaults."""
        hints = {param.name: param.hint for param in self.params}
        left = signature.parameters.values()
        params = tuple(Param(param.name, param.kind, hints[param.name], param.default) for param in left)
        return dataclasses.replace(self, params=params, signature=signature)

    @functools.cached_property
    def _bound(self) -> Plan:
        if not self.positionals:
            return self
        return self.with_signature(
            self.signature.replace(parameters=list(self.signature.parameters.values())[1:])
        )

    @functools.cached_property
    def _keywords(self) -> dict[str, Param]:
        kinds = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        return {param.name: param for param in self.params if param.kind in kinds}

    def _only(self, kind: Any) -> Param | None:
        return next((param for param in self.params if param.kind is kind), None)
