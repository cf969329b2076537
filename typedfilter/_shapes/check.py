"""The runtime check at the body: what the user's function receives, and what it returns.

`checked` makes a callable of a plan once; a call then walks the kinds of its annotations in one
jaxtyping context, so that dimension names bind across all arguments, the body and the return. Knows nothing
of transforms: they call what `checked` gives them where they would have called the function, and while JAX
traces it, so that a compiled call pays nothing.
"""

from __future__ import annotations

import functools
import inspect
import operator
import types
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np

from typedfilter._reading import kinds
from typedfilter._reading.callables import POSITIONAL
from typedfilter._reading.fields import leaf_marks
from typedfilter._reading.hints import UNANNOTATED, Hint
from typedfilter._reading.kinds import Kind
from typedfilter._reading.plan import Plan, plan_of
from typedfilter._reading.received import RECEIVER, Called, Expected, Received
from typedfilter._reading.wrappers import is_method
from typedfilter._shapes.bindings import RunTime
from typedfilter._shapes.passed import Known, Look, Memory, Place, Places, looks_at, most
from typedfilter._shapes.standing import is_raw
from typedfilter._shapes.switch import Mode, check_mode, report
from typedfilter._shapes.text import explain
from typedfilter._shapes.tied import tie
from typedfilter._shapes.unevaluated import explain_slip, explain_unbound
from typedfilter._shapes.walk import Failure, Path, walk
from typedfilter._values.trees import flatten
from typedfilter.errors import TypedFilterError

_ARRAYS = (jax.Array, np.ndarray, np.generic)


def checked(fn: Callable[..., Any], plan: Plan, *, eager: bool = False) -> Callable[..., Any]:
    """`fn`, with its annotated arguments checked before and its return after each call.

    `fn` itself comes back where there is nothing to check, where a check is already inside (one of our
    wrappers, or what `jaxtyping.jaxtyped` has wrapped). What something else calls has no annotations of its
    own: `jax.vmap(f)` receives batches, whatever `f` says.

    Arguments annotated to hold arrays reach `fn` as JAX arrays even where nothing is traced (a Python scalar
    under `jax.disable_jit()`), so that a body means the same with and without a trace. That does not depend
    on whether checks are on.

    Args:
        fn: the function.
        plan: of it.
        eager: what is static is not held back from the body as a compiled one's is: a scalar array where
            `float` is annotated, which is a tracer inside of `jax.jit`, is one outside of it as well.

    Raises (when the result is called):
        ShapeError: an argument or the return does not fit its annotation.
        AnnotationError: an annotation computes with a dimension name that no argument binds.
    """
    return checked_body(Called.of(fn, plan, eager))


def checked_body(body: Called) -> Callable[..., Any]:
    """As `checked`, of a body that was found before."""
    return body.fn if body.expected is None else _Checked(body, _Reading.of(body, body.expected))


def _checked_again(fn: Callable[..., Any], eager: bool) -> Callable[..., Any]:
    return checked(fn, plan_of(fn), eager=eager)


def _canonical_for(arg: Received | None, value: Any) -> Any:
    if arg is None or not arg.canonical or isinstance(value, jax.Array):
        return value
    if arg.flat:  # no container is right here: what is wrong is for the check to say
        return jnp.asarray(value) if is_raw(value) else value
    leaves, treedef = flatten(value)
    if any(map(is_raw, leaves)):
        pairs = zip(leaves, leaf_marks(value), strict=True)
        return treedef.unflatten(
            [jnp.asarray(leaf) if is_raw(leaf) and not mark.static else leaf for leaf, mark in pairs]
        )
    return value


def _receiver_of(fn: Any) -> Any:
    """The instance whose method, or own call, this is; None of a function."""
    if isinstance(fn, types.FunctionType | functools.partial | type):
        return None
    return fn.__self__ if is_method(fn) else fn


def _place(arg: Received) -> Place:
    """What is looked at where an argument arrives: by its check, or to make JAX arrays of what it holds."""
    look = looks_at(arg.kind)
    if arg.canonical:
        look = most((look, Look.LEAF if arg.flat else Look.TREE))
    return Place(look, arg.default)


class _Reading:
    """What of a plan a check needs, and the calls that have passed it."""

    def __init__(self, plan: Plan, eager: bool, expected: Expected) -> None:
        arguments = expected.arguments
        by_kind: dict[Any, list[Received]] = {}
        for param in plan.params:
            by_kind.setdefault(param.kind, []).append(arguments[param.name])
        self.positional = tuple(arg for kind in POSITIONAL for arg in by_kind.get(kind, ()))
        self.rest = next(iter(by_kind.get(inspect.Parameter.VAR_POSITIONAL, ())), None)
        self.extra = next(iter(by_kind.get(inspect.Parameter.VAR_KEYWORD, ())), None)
        positional_only = {arg.name for arg in by_kind.get(inspect.Parameter.POSITIONAL_ONLY, ())}
        variadic = {arg.name for arg in (self.rest, self.extra) if arg is not None}
        self.named = {name: arg for name, arg in arguments.items() if name not in positional_only | variadic}
        self.canonical = any(arg.canonical for arg in arguments.values())
        self.computed = any(arg.computed for arg in arguments.values())
        self.expected = expected
        self.models = any(arg.models for arg in arguments.values())
        places = Places(
            tuple(map(_place, self.positional)),
            {name: _place(arg) for name, arg in self.named.items()},
            None if self.rest is None else _place(self.rest),
            None if self.extra is None else _place(self.extra),
        )
        self.memory = Memory(places, expected.returns, used=eager)  # a compiled body runs while it is traced

    @classmethod
    def of(cls, body: Called, expected: Expected) -> _Reading:
        """The one of this plan, which has it as long as it lives."""
        key, notes = (cls, body.eager), body.plan.notes
        found: _Reading | None = notes.get(key)
        return notes.setdefault(key, cls(body.plan, body.eager, expected)) if found is None else found

    def rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[Received, Path, Any]]:
        """Each argument of a call, with its name. What does not bind is the function's to report."""
        rows: list[tuple[Received, Path, Any]] = []
        for arg, value in zip(self.positional, args, strict=False):
            rows.append((arg, (arg.name,), value))
        if self.rest is not None:
            for index, value in enumerate(args[len(self.positional) :]):
                rows.append((self.rest, (self.rest.name, f"[{index}]"), value))
        for name, arg in self.named.items():  # as in the signature: JAX sorts keyword arguments
            if name in kwargs:
                rows.append((arg, (name,), kwargs[name]))
        if self.extra is not None:
            for name, value in kwargs.items():
                if name not in self.named:
                    rows.append((self.extra, (name,), value))
        return rows

    def canonicalised(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, with JAX arrays where those are annotated."""
        count = len(self.positional)
        places = [self.positional[i] if i < count else self.rest for i in range(len(args))]
        values = tuple(_canonical_for(arg, value) for arg, value in zip(places, args, strict=True))
        named = {name: _canonical_for(self.named.get(name, self.extra), kwargs[name]) for name in kwargs}
        return values, named


class _Checked:
    """The callable that `checked` returns. Two of the same function are equal, so that JAX traces once."""

    __no_type_check__ = True  # once is enough

    def __init__(self, body: Called, reading: _Reading) -> None:
        functools.update_wrapper(self, body.fn, updated=())
        self._fn, self._plan, self._eager, _ = body
        self._receiver: Any = _receiver_of(body.fn)
        self._reading = reading
        self._expected = reading.expected

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        key, known = self._reading.memory.find(args, kwargs)
        if known is None and self._reading.canonical:
            given = *args, *kwargs.values()
            args, kwargs = self._reading.canonicalised(args, kwargs)
            if not all(map(operator.is_, given, (*args, *kwargs.values()))):
                key = None
        if check_mode() is Mode.OFF:
            return self._fn(*args, **kwargs)
        for slip in self._expected.slips:
            error = explain_slip(slip, self._plan.function)
            report(error, self._fn, (error.function, slip), mild=True)
        if self._receiver is not None:
            self._check(RECEIVER, UNANNOTATED, self._receiver, ("self",), RunTime())
        if self._expected.formatted:
            return self._call_framed(args, kwargs)
        with jaxtyping.jaxtyped("context"):
            if known is None:
                return self._call(args, kwargs, key)
            return self._call_known(known, args, kwargs)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], key: Hashable = None) -> Any:
        binder = RunTime(arguments=self._named_by_braces(args, kwargs))
        rows = self._reading.rows(args, kwargs)
        if self._reading.computed:
            rows.sort(key=lambda row: row[0].computed)
        computes = False  # with a number that is an array
        passes = True
        for arg, path, value in rows:
            computes = computes or (isinstance(arg.kind, kinds.Scalar) and isinstance(value, _ARRAYS))
            if arg.refuses and value is not arg.default:
                binder.numbers = arg.numbers
                passes &= self._check(arg.kind, arg.hint, value, path, binder)
        if passes:
            self._reading.memory.add(key, args, kwargs, binder.seen, computes)
        result = self._fn(*args, **kwargs)
        self._tie(args, kwargs, binder)
        self._check_result(result, binder, computes)
        return result

    def _call_known(self, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call whose arguments have passed before; what is in the fields of models is looked at anew."""
        known.bind()
        if self._reading.models:
            self._check_models(args, kwargs)
        result = self._fn(*args, **kwargs)
        memory = self._reading.memory
        key = memory.result(known, result)
        if key is None or key not in known.returned or self._expected.returns_models:
            binder = RunTime(seen=list(known.seen))
            self._tie(args, kwargs, binder)
            passes = self._check_result(result, binder, known.computes)
            if passes:
                memory.add_result(known, key, result)
        return result

    def _tie(self, args: tuple[Any, ...], kwargs: dict[str, Any], binder: RunTime) -> None:
        """Bind the names that only the result has to the sizes of the one instance that has them."""
        if self._expected.tied and (self._reading.models or self._receiver is not None):
            given = [(path, value) for _, path, value in self._reading.rows(args, kwargs)]
            receiver = [] if self._receiver is None else [(("self",), self._receiver)]
            binder.seen += tie(self._expected.tied, [*receiver, *given])

    def _check_models(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for arg, path, value in self._reading.rows(args, kwargs):
            if arg.models and value is not arg.default:
                self._check(arg.kind, arg.hint, value, path, RunTime())

    def _check_result(self, result: Any, binder: RunTime, computes: bool) -> bool:
        expected = self._expected
        if not expected.refuses:
            return True
        binder.returned, (binder.numbers, binder.numpy) = True, expected.returned
        binder.numbers = binder.numbers or (self._eager and computes)
        return self._check(expected.returns, self._plan.returns, result, ("return",), binder)

    def _check(self, kind: Kind, hint: Hint, value: Any, path: Path, binder: RunTime) -> bool:
        """Whether a value is of this kind; if not, that is reported."""
        failure: Failure | None = None
        try:
            failure = walk(kind, value, path, binder)
            if failure is None:
                return True
            error: TypedFilterError = explain(failure, binder, self._plan.function, hint.annotation)
        except jaxtyping.AnnotationError as problem:
            function, counts = self._plan.function, self._plan.counts
            error = explain_unbound(problem, binder, function, path[0], hint.annotation, counts=counts)
        mild = failure is not None and failure.mild
        report(error, self._fn, (error.function, path), mild=mild)
        return False

    def _call_framed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call as a `jaxtyped` function, which is where jaxtyping finds the `n` of "{n}".

        An exception takes a way of its own: jaxtyping would write a note on the user's.
        """
        raised: list[BaseException] = []

        def body(*args: Any, **kwargs: Any) -> Any:
            try:
                return self._call(args, kwargs)
            except BaseException as error:
                raised.append(error)

        body.__signature__ = self._plan.signature  # type: ignore[attr-defined]  # read by inspect.signature
        result = jaxtyping.jaxtyped(body, typechecker=None)(*args, **kwargs)
        if raised:
            raise raised.pop()
        return result

    def _named_by_braces(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What an error needs to tell the value of "{n}"."""
        if not self._expected.formatted:
            return {}
        bound = self._plan.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return _checked_again, (
            self._fn,
            self._eager,
        )  # jax.Array, and so a plan, does not pickle on every JAX

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Checked):
            return NotImplemented
        if (self._plan.complete, self._eager) != (other._plan.complete, other._eager):
            return False
        if isinstance(self._fn, types.MethodType):
            return self._fn == other._fn
        return self._fn is other._fn

    def __hash__(self) -> int:
        if isinstance(self._fn, types.MethodType):
            return hash((id(self._fn.__self__), self._fn.__func__))
        return hash(id(self._fn))
