"""The check of an instance that somebody has just made: what its fields hold, against their annotations.

Knows nothing of how a class is made; whoever makes one calls what is here after the constructor, and only
where it was a user who called that.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import traceback
from collections.abc import Generator
from typing import Any, TypeAlias

import jaxtyping

from typedfilter._reading.callables import name_of
from typedfilter._reading.fields import dims_of, field_hints
from typedfilter._reading.hints import Hint
from typedfilter._reading.roles import Differentiable
from typedfilter._shapes.bindings import RunTime, in_own_scope
from typedfilter._shapes.instances import Fields, check_of, fields_of
from typedfilter._shapes.standing import holds_arrays
from typedfilter._shapes.switch import Mode, check_mode, report
from typedfilter._shapes.text import explain
from typedfilter._shapes.unevaluated import explain_unbound
from typedfilter._shapes.walk import Failure
from typedfilter._values.context import setting
from typedfilter.errors import TypedFilterError


class WrongModelError(Exception):
    """An instance was made whose fields do not fit; nobody was told at once.

    Attributes:
        error: what is wrong.
        frames: where it was made.
    """

    def __init__(self, error: TypedFilterError, frames: traceback.StackSummary) -> None:
        super().__init__(str(error))
        self.error = error
        self.frames = frames


_Waiting: TypeAlias = list[WrongModelError]
_deferred: contextvars.ContextVar[_Waiting | None] = contextvars.ContextVar("deferred", default=None)


@contextlib.contextmanager
def deferred() -> Generator[_Waiting]:
    """What would be raised inside is listed instead; the instances are made all the same.

    A proof asks what comes of them first: that says more of a function than where it went wrong.
    """
    waiting: _Waiting = []
    with setting(_deferred, waiting):
        yield waiting


class Construction:
    """What is asked of each new instance of one class, whose annotations are read when the first is made."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __reduce__(self) -> tuple[Any, ...]:  # what was read of the class is read again elsewhere
        return Construction, (self._cls,)

    @functools.cached_property
    def _hints(self) -> dict[str, Hint]:
        return field_hints(self._cls)

    @functools.cached_property
    def _fields(self) -> Fields:
        # Apart from those that cross a body: what they remember to fit may lack what a new instance may not.
        return Fields.of(fields_of(self._cls, {}).kinds)

    @functools.cached_property
    def _defaults(self) -> dict[str, Any]:
        fields: Any = dataclasses.fields(self._cls)
        return {one.name: one.default for one in fields if one.default is not dataclasses.MISSING}

    def check(self, instance: Any) -> None:
        """Compare the fields of an instance with their annotations.

        A default is right whatever it is, as that of a parameter is; so is None where a gradient of the
        model has it.

        Raises:
            ShapeError: a field does not fit, alone or together with the others.
            AnnotationError: an annotation computes with a name that no field binds.
        """
        if check_mode() is Mode.OFF or not self._fields:
            return
        try:
            failure = in_own_scope(self._fields, instance, (), made=True)
            failure = failure and self._without_excused(instance)
        except jaxtyping.AnnotationError as problem:
            name = self._computed(problem)
            error: TypedFilterError = explain_unbound(
                problem, RunTime(), self._name, name, self._annotation(name), "field"
            )
        else:
            if failure is None:
                return
            name = failure.path[0]
            error = explain(failure, RunTime(), self._name, self._annotation(name))
        waiting = _deferred.get()
        if waiting is not None:
            waiting.append(WrongModelError(error, traceback.extract_stack()))
            return
        report(error, self._cls, name, mild=check_of(self._cls) == "warn")

    def _without_excused(self, instance: Any) -> Failure | None:
        """What is wrong with the fields that are neither left to their default nor without a gradient.

        Nothing is, where there is no array in any: then it is a tree of axes, masks or shardings.
        """
        if not holds_arrays(getattr(instance, name, None) for name in self._fields.kinds):
            return None
        asked = {name: k for name, k in self._fields.kinds.items() if not self._is_excused(name, instance)}
        return in_own_scope(Fields.of(asked), instance, (), made=True)

    def _is_excused(self, name: str, instance: Any) -> bool:
        value, hint = getattr(instance, name, None), self._hints[name]
        differentiated = hint.differentiable is Differentiable.ALWAYS and hint.diff is not False
        return (value is None and not differentiated) or self._defaults.get(name, self) is value

    def _computed(self, problem: jaxtyping.AnnotationError) -> str:
        """The field whose annotation jaxtyping can't evaluate."""
        missing = getattr(problem.__cause__, "name", None)
        for name, kind in self._fields.kinds.items():
            if any(dim.kind == "expression" and str(missing) in dim.text for dim in dims_of(kind)):
                return name
        return next(iter(self._fields.kinds))

    @property
    def _name(self) -> str:
        return name_of(self._cls)

    def _annotation(self, name: str) -> Any:
        return self._hints[name].annotation
