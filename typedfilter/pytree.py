"""`pytree_dataclass`: a frozen dataclass that JAX sees through, with `Static` fields as its structure.

Owns the registration with JAX and what happens on flattening and unflattening; of the markers it
knows `Static` alone. JAX's own C++ code takes instances apart: to it, every class has its data fields and one
hidden meta field, which stands for the values of all static fields and is equal exactly where they are. No
instance has that field as an attribute of its own, and no constructor takes it from anybody but JAX.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, overload

import jax
from typing_extensions import dataclass_transform

from typedfilter._declarations import Check
from typedfilter._reading.callables import name_of
from typedfilter._reading.fields import HIDDEN, is_pytree_dataclass
from typedfilter._reading.hints import Hint, class_hints
from typedfilter._reading.names import annotations_of
from typedfilter._reading.roles import Role
from typedfilter._reading.text import WrittenSignature, show
from typedfilter._shapes.construction import Construction
from typedfilter._shapes.instances import check_of, choose_check
from typedfilter._values.keys import Interned, intern, static_problem
from typedfilter._values.shown import shown_by_default
from typedfilter._values.text import brief
from typedfilter._wrapping.frames import ends_at_caller, hidden, outside
from typedfilter._wrapping.frozen import refuse_assignment, refuse_deletion
from typedfilter._wrapping.keywords import note_slip, refuse_options
from typedfilter.errors import AnnotationError, PytreeError, StaticArgumentError

__all__ = ["pytree_dataclass"]

__tracebackhide__ = hidden  # asked by pytest
T = TypeVar("T")


@overload
@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(dataclasses.field,))
def pytree_dataclass(cls: type[T], /) -> type[T]: ...


@overload
@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(dataclasses.field,))
def pytree_dataclass(
    *,
    init: bool = True,
    repr: bool = True,
    eq: bool = False,
    order: bool = False,
    unsafe_hash: bool = False,
    match_args: bool = True,
    kw_only: bool = False,
    slots: bool = False,
    weakref_slot: bool = False,
    check: Check = True,
) -> Callable[[type[T]], type[T]]: ...


@ends_at_caller
def pytree_dataclass(cls: Any = None, /, **options: Any) -> Any:
    """Make a class a frozen dataclass and a pytree.

    Its fields are its children, in order, except those annotated `Static[...]`: they are part of the
    structure, must be hashable, and are compared exactly (`1`, `1.0` and `True` differ, as do `0.0` and
    `-0.0`; a NaN equals itself). Flattening and unflattening check nothing and run none of your code, so
    that a field may hold whatever a transform puts there.

    Args:
        cls: the class, where the decorator is used without parentheses.
        options: those of `dataclasses.dataclass`, but `frozen` is always true, and `eq` is false unless you
            ask for it: instances are then compared by identity, since arrays have no single truth value.
            `check=False`: no fields of this class are checked; `check="warn"`: errors are warnings.

    What somebody constructs has to fit the annotations, in which a dimension name means one size. What JAX
    puts together is looked at only where it is passed to a function that a transform checks.

    A subclass must be decorated too. With `slots=True`, static fields are looked up at each flattening.

    Raises:
        AnnotationError: an annotation can't be read, or turns out to be `Static` only when it is too late.
        ShapeError: (by the class, when called) a field does not fit its annotation.
        StaticArgumentError: (by the class, when called) a static field is an array, or unhashable.
        PytreeError: `frozen=False` was given, or (by the class, when called) a subclass is not decorated.
    """
    if options.pop("frozen", True) is not True:
        raise PytreeError(
            "is always frozen", function="pytree_dataclass", actual="frozen=False", fix=_REPLACE
        )
    check = options.pop("check", True)
    names = [*inspect.signature(dataclasses.dataclass).parameters][1:]
    refuse_options("pytree_dataclass", options, [*names, "check"])
    decorate = functools.partial(_pytree_dataclass, {"frozen": True, "eq": False, **options}, check)
    return decorate if cls is None else decorate(cls)


_REPLACE = "drop the option; dataclasses.replace(x, field=value) makes a changed copy"


# --- what the class gets ------------------------------------------------------------------------------------


@ends_at_caller
def _pytree_dataclass(options: dict[str, bool], check: Check, cls: type[T]) -> type[T]:
    if not isinstance(cls, type):  # pyright: ignore[reportUnnecessaryIsInstance] # who has no types
        raise TypeError(f"pytree_dataclass() decorates a class, not {cls!r}")
    own_repr = "__repr__" in vars(cls) or not options.get("repr", True)
    made = _as_dataclass(cls, options)
    shown_by_default(made, own_repr=own_repr)
    names = [field.name for field in dataclasses.fields(made)]
    hints = class_hints(made, strict=True)
    static = tuple(name for name in names if hints[name].static_marker)
    unsure = [name for name in names if hints[name].unresolved and name not in static]
    in_dict = made.__dictoffset__ != 0 and not any(_is_managed(made, name) for name in names)
    guard = _Guard(_restore_in_dict if in_dict else _restore_one_by_one)
    setattr(made, HIDDEN, _Hidden(made, static, guard, cached=in_dict))
    choose_check(made, check)
    made.__init__ = guard.before(_checking(made, made.__init__, static, unsure))
    made.__setattr__, made.__delattr__ = refuse_assignment, refuse_deletion
    if made.__getstate__ is object.__getstate__:
        made.__getstate__ = _state_without_cache
    _register(made, [name for name in names if name not in static])
    return made  # type: ignore[no-any-return]  # a dataclass made of cls


def _as_dataclass(cls: type, options: dict[str, bool]) -> Any:
    """What `dataclasses` makes of the class; a default that it refuses is told in words of the field."""
    try:
        return dataclasses.dataclass(**options)(cls)
    except ValueError:
        for name in annotations_of(cls):
            value = vars(cls).get(name)
            value = value.default if isinstance(value, dataclasses.Field) else value
            if getattr(type(value), "__hash__", None) is None:
                raise _shared_default(cls, name, value) from None
        raise


def _shared_default(cls: type, name: str, value: Any) -> PytreeError:
    empty = isinstance(value, list | dict | set) and not value
    factory = type(value).__name__ if empty else "lambda: ..."
    written = f"{name}: {show(annotations_of(cls)[name])} = dataclasses.field(default_factory={factory})"
    return PytreeError(
        "has a default that all instances would share",
        function=cls.__qualname__,
        parameter=name,
        expected="a function that makes a new one for each instance",
        actual=brief(value),
        fix=f"write `{written}`" + ("" if empty else ", with the value where the dots of the lambda are"),
    )


def _is_managed(cls: Any, name: str) -> bool:
    """Whether a slot, or another descriptor, stands between an attribute and the instance's dict."""
    return hasattr(inspect.getattr_static(cls, name, None), "__set__")


def _register(cls: Any, data: list[str]) -> None:
    """Register with JAX's C++ path. It wants every field with `init=True` to be named, and none besides.

    What it checks against are the dataclass fields, so it is shown those of another class meanwhile: ours
    has fields with `init=False` that are data, static fields that JAX needn't see, and the hidden one.
    """
    own = cls.__dataclass_fields__
    shown: Any = dataclasses.make_dataclass("shown", [*data, HIDDEN])
    cls.__dataclass_fields__ = shown.__dataclass_fields__
    try:
        jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=[HIDDEN])
    finally:
        cls.__dataclass_fields__ = own


class _StaticPart(tuple[type, Interned]):
    """The hidden meta field of one instance: equal to another, in C, if class and key of the values are.

    The class counts since JAX 0.10 and 0.12 compare dataclass nodes by their meta fields alone. Keeps the
    values of its own instance, which an equal key does not make the same objects.
    """

    values: dict[str, Any]

    def __new__(cls, owner: type, values: dict[str, Any]) -> _StaticPart:
        part = super().__new__(cls, (owner, intern(tuple(values.values()))))
        part.values = values
        return part

    def __repr__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.values.items())

    def __reduce__(self) -> tuple[Any, ...]:
        return _StaticPart, (self[0], self.values)


class _Namespace(dict[str, Any]):
    """The `__dict__` of an instance that was flattened: its attributes, and its static part, which it hides.

    Python finds an attribute in it by a look-up in C that knows nothing of these methods; whoever lists or
    copies it, or asks it for a name (`vars(model)`, `Model(**vars(model))`), goes by them.
    """

    __slots__ = ()

    def _shown(self) -> dict[str, Any]:
        return {name: dict.__getitem__(self, name) for name in self}

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in dict.__iter__(self) if name != HIDDEN])

    def __len__(self) -> int:
        return dict.__len__(self) - dict.__contains__(self, HIDDEN)

    def __contains__(self, name: object) -> bool:
        return name != HIDDEN and dict.__contains__(self, name)

    def __eq__(self, other: object) -> bool:
        return self._shown() == other

    __hash__ = None  # as of any dictionary

    def __repr__(self) -> str:
        return repr(self._shown())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self._shown(),)

    def keys(self) -> Any:
        return self._shown().keys()

    def values(self) -> Any:
        return self._shown().values()

    def items(self) -> Any:
        return self._shown().items()

    def copy(self) -> dict[str, Any]:
        return self._shown()


class _Hidden:
    """Computes the static part when JAX first asks an instance for it; the `__dict__` then has it."""

    def __init__(self, cls: type, names: tuple[str, ...], guard: _Guard, cached: bool) -> None:
        self.names = names
        self._guard = guard
        self._empty = None if names else _StaticPart(cls, {})
        self._cached = cached and self._empty is None

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None:
            return self
        if owner.__init__ is not self._guard.init:  # somebody else's came above it
            owner.__init__ = self._guard.before(owner.__init__)
        if self._empty is not None:
            setattr(owner, HIDDEN, self._empty)  # the same for all instances: from now on found in C
            return self._empty
        part = self._part(instance, owner)
        if self._cached:
            _restore_in_dict(instance, {**instance.__dict__, HIDDEN: part})
        return part

    def _part(self, instance: Any, owner: type) -> _StaticPart:
        values = {name: getattr(instance, name) for name in self.names}
        try:
            return _StaticPart(owner, values)
        except Exception:
            _check_static(owner, values)
            raise


class _Guard:
    """Stands before the `__init__` of a class: where JAX unflattens, attributes are put back, no more.

    Other people's decorators put an `__init__` of theirs above (`jaxtyping.jaxtyped` checks fields in it).
    Whatever is unflattened was flattened before, and by then the guard stands before theirs, too.
    """

    def __init__(self, restore: Callable[[Any, dict[str, Any]], None]) -> None:
        self._restore = restore
        self.init: Callable[..., None] | None = None

    def before(self, init: Callable[..., None]) -> Callable[..., None]:
        restore = self._restore

        @functools.wraps(init)
        def construct(self: Any, /, *args: Any, **kwargs: Any) -> None:
            if HIDDEN in kwargs and type(kwargs[HIDDEN]) is _StaticPart:
                restore(self, kwargs)
                return
            try:
                init(self, *args, **kwargs)
            except BaseException as error:
                outside(error)
                raise

        construct.__signature__ = inspect.signature(init)  # type: ignore[attr-defined]
        self.init = construct
        return construct


def _checking(
    cls: Any, init: Callable[..., None], static: tuple[str, ...], waiting: list[str]
) -> Callable[..., None]:
    """`init`, with what it makes of the fields checked.

    `waiting` names the fields whose annotations the first construction has to look at again.
    """

    check = Construction(cls).check if check_of(cls) else None

    @functools.wraps(init)
    def construct(self: Any, /, *args: Any, **kwargs: Any) -> None:
        if not is_pytree_dataclass(type(self)):
            raise _undecorated(type(self), cls)
        if waiting:
            _refuse_late_static(cls, waiting)
            waiting.clear()
        try:
            init(self, *args, **kwargs)
        except TypeError as error:
            note_slip(error, kwargs, [field.name for field in dataclasses.fields(cls)])
            raise
        for name in static:
            try:
                hash(getattr(self, name, None))
            except Exception:
                _check_static(cls, {name: getattr(self, name)})
        if check is not None and type(self) is cls:  # else a subclass calls this, and is not done yet
            check(self)

    construct.__signature__ = _signature(init, class_hints(cls))  # type: ignore[attr-defined]
    return construct


def _signature(init: Callable[..., None], hints: dict[str, Hint]) -> inspect.Signature:
    """The signature of `init` with annotations that are no strings: other checkers look for their names here.

    A number in a `Traced` field is an array where something is traced, and may be passed as one.
    """
    signature = inspect.signature(init)
    parameters = list(signature.parameters.values())
    for i, parameter in enumerate(parameters):
        hint = hints.get(parameter.name)
        if hint is not None and not hint.unresolved and parameter.annotation is not parameter.empty:
            numbers = hint.role is Role.TRACED and hint.type in (bool, int, float, complex)
            annotation = hint.annotation | jax.Array if numbers else hint.annotation
            parameters[i] = parameter.replace(annotation=annotation)
    return WrittenSignature.of(signature.replace(parameters=parameters))


def _restore_in_dict(instance: Any, attributes: dict[str, Any]) -> None:
    part: _StaticPart = attributes[HIDDEN]
    if part.values:
        namespace = _Namespace(part.values)
        namespace |= attributes
        _set_attribute(instance, "__dict__", namespace)
    else:
        del attributes[HIDDEN]
        instance.__dict__.update(attributes)


_set_attribute = object.__setattr__


def _restore_one_by_one(instance: Any, attributes: dict[str, Any]) -> None:
    part: _StaticPart = attributes.pop(HIDDEN)
    for name, value in (*attributes.items(), *part.values.items()):
        object.__setattr__(instance, name, value)


def _state_without_cache(self: Any) -> Any:
    """For copy and pickle: whoever changes a copy's static fields must not find the old static part there."""
    state: Any = object.__getstate__(self)
    return state.copy() if type(state) is _Namespace else state


# --- what goes wrong ----------------------------------------------------------------------------------------


def _check_static(cls: type, values: dict[str, Any]) -> None:
    for name, value in values.items():
        problem = static_problem(value)
        if problem is not None:
            raise StaticArgumentError(
                problem,
                function=name_of(cls),
                parameter=name,
                expected=f"a hashable value, since the field is {show(class_hints(cls)[name].annotation)}",
                actual=brief(value),
                fix="drop Static from an array; of anything else pass what is hashable, a tuple for a list",
            )


def _undecorated(cls: type, base: type) -> PytreeError:
    return PytreeError(
        f"derives from the pytree_dataclass {name_of(base)} and isn't one itself",
        function=name_of(cls),
        fix="decorate it with @pytree_dataclass too: JAX would take its instances for leaves",
    )


def _refuse_late_static(cls: type, unsure: list[str]) -> None:
    """Raise if a name that was unknown when the class was decorated has turned out to say `Static`."""
    hints = class_hints(cls)
    for name in unsure:
        if hints[name].static_marker:
            raise AnnotationError(
                "is Static by a name that was defined after the class",
                function=name_of(cls),
                parameter=name,
                actual=show(hints[name].annotation),
                fix="define the name before the class, or write Static[...] at the field itself",
            )
