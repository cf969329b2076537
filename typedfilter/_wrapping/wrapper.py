"""What every transform returns: one small class of callables.

A `Transform` is a frozen value (which one, with what options); a `Wrapper` is a transform of a
callable. Wrappers are pytrees whose child is the wrapped callable, so that arrays inside a callable module
stay arrays of the tree. Knows nothing of what any transform does.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax

from typedfilter._declarations import Check
from typedfilter._reading.callables import globals_of, inside_partials, name_of
from typedfilter._reading.hidden import refuse_hidden
from typedfilter._reading.outside import Holds, plan_outside, signature_outside
from typedfilter._reading.plan import Plan, plan_of
from typedfilter._shapes.switch import checking, raises, refuse_check, report
from typedfilter._values.keys import exact_key
from typedfilter._values.trees import flatten
from typedfilter._wrapping.blame import entered
from typedfilter._wrapping.effects import Effects
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.shown import Quiet, Unannotated, offered, shown_annotations
from typedfilter.errors import AnnotationError

_COPIED = ("__name__", "__qualname__", "__doc__", "__module__")
_OF_JIT = frozenset({"lower", "trace", "eval_shape"})  # which no other transform has
_NAMES = frozenset({"__name__", "__qualname__"})


@dataclasses.dataclass(frozen=True, eq=False)
class Transform(abc.ABC):
    """One transform with its options: the fields of a subclass. Compared by the exact values of both.

    A subclass says what the transformed callable is (`build`), what it does to each argument (`effects`), and
    which contradictions it refuses when the decorator runs (`check_plan`).
    """

    name: ClassVar[str]
    places_outside: ClassVar[bool] = False
    """Whether the places in annotations are about what the transformed callable takes, not its body."""
    reads: ClassVar[frozenset[str]] = frozenset()  # the markers by which it does what it does
    holds: ClassVar[Holds] = Holds.ARGUMENTS  # which annotations are true of the transformed callable as well
    check: Check = dataclasses.field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if self.check is not True:
            refuse_check(self.check, self.name)
        # What a user changes later must not change a transform that was compiled, or hashed, before.
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            copied = _copied(given)
            if copied is not given:
                object.__setattr__(self, field.name, copied)

    @abc.abstractmethod
    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        """What a call of `wrapper` runs."""

    def entry(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        """What `build` makes, with errors that name arguments and end at the line of the caller."""
        beside = None if wrapper.lent else wrapper.__wrapped__
        return entered(self.build(wrapper, plan), plan, self.name, beside)

    @abc.abstractmethod
    def effects(self, fn: Callable[..., Any], plan: Plan) -> Effects:
        """What a call does to its arguments and its result, `fn` being what is transformed."""

    def check_plan(self, plan: Plan) -> None:  # noqa: B027 (most transforms refuse nothing)
        """Raise `AnnotationError` where the plan contradicts this transform."""

    def accept(self, fn: Callable[..., Any], plan: Plan) -> None:
        """`check_plan`, of which what no marker says is a check as any other: it can be a warning, or off.

        Raises:
            AnnotationError: the plan contradicts this transform.
        """
        try:
            self.check_plan(plan)
        except AnnotationError as error:
            with checking(self.check):
                if raises():
                    raise
                self.check_plan(plan.marked_only)
                report(error, fn, self.name)

    @ends_at_caller
    def wrap(self, fn: Callable[..., Any], *, lent: bool = False) -> Wrapper:
        """The transform of `fn`."""
        return Wrapper(fn, self, lent)

    @property
    def options(self) -> dict[str, Any]:
        """The options that differ from their defaults, by name."""
        fields = dataclasses.fields(self)
        values = {field.name: getattr(self, field.name) for field in fields}
        return {f.name: values[f.name] for f in fields if not _same(values[f.name], f.default)}

    @functools.cached_property
    def key(self) -> Any:
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return type(self), _frozen_key(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transform) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __deepcopy__(self, memo: Any) -> Self:
        return self  # nobody changes it; and the devices of a mesh can't be copied before JAX 0.8

    def __reduce__(self) -> tuple[Any, ...]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return _remake, (type(self), values)


def _copied(option: Any) -> Any:
    """An option with containers of its own; dictionaries keep their order, which JAX would not."""
    if option is None or isinstance(option, Wrapper | BoundWrapper) or jax.tree_util.all_leaves([option]):
        return option
    if type(option) is dict:
        return {key: _copied(value) for key, value in option.items()}
    children, treedef = flatten(option, lambda node: node is not option)
    return treedef.unflatten(list(map(_copied, children)))


def _remake(cls: type[Transform], values: dict[str, Any]) -> Transform:
    return cls(**values)


def _same(value: object, default: object) -> bool:
    return value is default or (type(value) is type(default) and value == default)


def _frozen_key(values: Any) -> Any:
    """The exact key of options that may be pytrees; a fresh object where they have none (arrays, say)."""
    leaves, treedef = jax.tree_util.tree_flatten(values, is_leaf=lambda leaf: leaf is None)
    try:
        key = treedef, tuple([exact_key(leaf) for leaf in leaves])
        hash(key)
    except TypeError:
        return object()
    return key


class Wrapper(metaclass=Quiet):
    """A transform of a callable: called as the callable is.

    Attributes:
        __wrapped__: the callable.
        transform: which transform, with its options.
        lent: an engine made this wrapper while it traces, and holds the callable weakly: what JAX keeps of
            the trace must do so, too, since the engine lives as long as the callable does.
    """

    # `__call__` is a slot: what a call runs is found in the instance without a Python frame of ours.
    __slots__ = ("__call__", "__dict__", "__weakref__", "__wrapped__", "_binds", "lent", "transform")

    if TYPE_CHECKING:
        _bound: ClassVar[type[BoundWrapper]]  # as what it is found on an instance

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def __init__(self, fn: Callable[..., Any], transform: Transform, lent: bool = False) -> None:
        self.lent: bool = lent
        self._binds = _binding(fn)
        self.__wrapped__: Any = fn.__func__ if isinstance(fn, (staticmethod, classmethod)) else fn
        self.transform: Transform = transform
        for name in _COPIED:
            value = getattr(inside_partials(fn), name, None)
            if isinstance(value, str):
                vars(self)[name] = value
        plan = plan_of(self.__wrapped__)
        transform.accept(self.__wrapped__, plan)
        if not lent:
            refuse_hidden(self.__wrapped__, transform.name, transform.reads)
        vars(self)["__signature__"] = signature_outside(self.__wrapped__, plan, transform.holds)
        self.__call__ = transform.entry(self, plan) if plan.complete else _late(self)  # type: ignore[method-assign]  # a slot
        if type(self.__call__) is types.FunctionType:  # help shows both, where they differ
            self.__call__.__dict__["__signature__"] = self.__dict__["__signature__"]

    def __dir__(self) -> list[str]:
        return offered(super().__dir__())

    def __typedfilter_plan__(self) -> Plan:
        """The plan of this callable, for whatever transform comes next."""
        return plan_outside(plan_of(self.__wrapped__), self.transform.holds)

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if self._binds is staticmethod or (obj is None and self._binds is not classmethod):
            return self
        return self._bound(self, owner if self._binds is classmethod else obj)

    @ends_at_caller
    def __getattr__(self, name: str) -> Any:
        fn = self.__wrapped__
        if name == "__type_params__":
            found = fn.__type_params__
            return found if isinstance(found, tuple) else ()  # a mock's is one, too
        if name == "__annotations__":
            return shown_annotations(fn, self.__signature__)
        if name in _NAMES and callable(fn):  # partials have none, and who writes code needs one
            full = name_of(fn)
            return full if name == "__qualname__" else full.rpartition(".")[2]
        if name == "__globals__":  # jaxtyping evaluates strings in it
            return globals_of(fn)
        if name == "__signature__" and callable(fn):
            return signature_outside(fn, plan_of(fn), self.transform.holds)
        notes = {} if name.startswith("__") else _notes_on(fn)
        if name in notes:
            return notes[name]
        fix = f"\n  fix: filter_jit({self.__name__}).{name}" if name in _OF_JIT else ""
        raise AttributeError(f"{self!r} has no attribute {name!r}{fix}", name=name, obj=self)

    @property
    def __isabstractmethod__(self) -> bool:
        own: bool | None = self.__dict__.get("__isabstractmethod__")
        return getattr(self.__wrapped__, "__isabstractmethod__", False) if own is None else own

    @__isabstractmethod__.setter
    def __isabstractmethod__(self, value: bool) -> None:  # by `abc.abstractmethod` above the transform
        vars(self)["__isabstractmethod__"] = value

    @property
    def __doc__(self) -> str | None:  # of each wrapper, not of the class
        found: str | None = self.__dict__.get("__doc__") or getattr(
            inside_partials(self.__wrapped__), "__doc__", None
        )
        return found

    @__doc__.setter
    def __doc__(self, value: str | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        vars(self)["__doc__"] = value

    def _identity(self) -> Any:
        fn = self.__wrapped__
        by_value = isinstance(fn, (Wrapper, BoundWrapper, types.MethodType))
        return type(self), self._binds, self.transform, fn if by_value else id(fn)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Wrapper) and self._identity() == other._identity())

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.transform.options.items())
        return f"{self.transform.name}({_name(self.__wrapped__)}{options})"

    def __reduce__(self) -> Any:
        # Functions pickle by name, and so does what a decorator has put in the place of a function.
        if _found_by_name(self):
            return self.__qualname__
        binds = None if self._binds is types.FunctionType else self._binds  # which has no name to pickle by
        return _rewrap, (type(self), self.__wrapped__, self.transform, binds)

    @classmethod
    def _rebuild(cls, fn: Any, transform: Transform, binds: type) -> Self:
        """Without a look at `fn`, which may be a placeholder: JAX unflattens with anything as a leaf."""
        self = object.__new__(cls)
        self.lent = False
        self._binds = binds
        self.__wrapped__ = fn
        self.transform = transform
        self.__call__ = _late(self)  # type: ignore[method-assign]  # a slot
        return self

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        setattr(cls, "__doc__", Wrapper.__dict__["__doc__"])  # noqa: B010 (a property, to mypy a method)
        _register(cls)


def _binding(fn: Any) -> type:
    """As which kind of function a wrapper of `fn` binds to an instance; through a stack of wrappers, too."""
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)
    return fn._binds if isinstance(fn, Wrapper) else types.FunctionType


def _late(wrapper: Wrapper) -> Callable[..., Any]:
    """The call of a wrapper until it is built, with its name: who puts a function around it reads that."""

    @ends_at_caller
    def call(*args: Any, **kwargs: Any) -> Any:
        built = wrapper.__call__ is not call  # who has taken this before goes on with what is built now
        return wrapper.__call__(*args, **kwargs) if built else _late_call(wrapper, *args, **kwargs)

    known = vars(wrapper)  # of what JAX puts together, nothing
    call.__name__, call.__qualname__ = (known.get(name, "call") for name in ("__name__", "__qualname__"))
    return call


def _late_call(wrapper: Wrapper, /, *args: Any, **kwargs: Any) -> Any:
    """The first call of a wrapper that could not be built before: of one with names defined later, say."""
    plan = plan_of(wrapper.__wrapped__, final=True)
    wrapper.transform.accept(wrapper.__wrapped__, plan)
    call = wrapper.transform.entry(wrapper, plan)
    vars(wrapper)["__signature__"] = signature_outside(wrapper.__wrapped__, plan, wrapper.transform.holds)
    wrapper.__call__ = call  # type: ignore[method-assign]  # a slot
    return call(*args, **kwargs)


def _rewrap(cls: type[Wrapper], fn: Any, transform: Transform, binds: type | None) -> Wrapper:
    return cls._rebuild(fn, transform, binds or types.FunctionType)


def _name(fn: Any) -> str:
    if isinstance(fn, Wrapper):
        return repr(fn)
    return getattr(fn, "__qualname__", None) or repr(fn)


def _notes_on(fn: Any) -> dict[str, Any]:
    """The attributes that a user has set on a function, or on a wrapper of it."""
    if isinstance(fn, Wrapper):
        return _notes_on(fn.__wrapped__) | vars(fn)
    return vars(fn) if isinstance(fn, types.FunctionType) else {}


def _found_by_name(wrapper: Wrapper) -> bool:
    found: Any = sys.modules.get(getattr(wrapper, "__module__", ""))
    for part in getattr(wrapper, "__qualname__", "<none>").split("."):
        found = getattr(found, part, None)
    return found is wrapper


def _register(cls: type[Wrapper]) -> None:
    jax.tree_util.register_pytree_with_keys(
        cls,
        lambda w: (
            ((jax.tree_util.GetAttrKey("__wrapped__"), w.__wrapped__),),
            (w.transform, w._binds),
        ),
        lambda aux, children: cls._rebuild(next(iter(children)), *aux),
        lambda w: ((w.__wrapped__,), (w.transform, w._binds)),
    )


_register(Wrapper)


class BoundWrapper(metaclass=Unannotated):
    """A wrapper that was found on an instance (or a class, for a class method): its first argument is that.

    Other attributes are those of the wrapper.
    """

    __slots__ = ("__call__", "__func__", "__self__", "__weakref__")

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def __init__(self, func: Wrapper, obj: Any) -> None:
        self.__func__ = func
        self.__self__ = obj
        self.__call__ = functools.partial(func.__call__, obj)  # type: ignore[method-assign]  # a slot

    def __typedfilter_plan__(self) -> Plan:
        """The plan of the wrapper without its first parameter."""
        return self.__func__.__typedfilter_plan__().without_first()

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # of each method, not of the class
        return self.__func__.__doc__

    @property
    def __wrapped__(self) -> Any:
        return types.MethodType(self.__func__.__wrapped__, self.__self__)

    def __get__(self, obj: Any, owner: type | None = None) -> BoundWrapper:
        return self  # as a bound method does; `help` takes it for a method by this

    def __dir__(self) -> list[str]:
        return offered({*super().__dir__(), *dir(self.__func__)})

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__func__, name)
        if name == "__signature__":
            parameters = list(value.parameters.values())
            takes_more = parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
            return value if takes_more else value.replace(parameters=parameters[1:])
        return value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundWrapper):
            return NotImplemented
        return self.__self__ is other.__self__ and self.__func__ == other.__func__

    def __hash__(self) -> int:
        return hash((id(self.__self__), self.__func__))

    def __repr__(self) -> str:
        return f"<bound {self.__func__!r} of {type(self.__self__).__qualname__} object>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.__func__, self.__self__)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        setattr(cls, "__doc__", BoundWrapper.__dict__["__doc__"])  # noqa: B010 (as of a wrapper)
        _register_bound(cls)


def _register_bound(cls: type[BoundWrapper]) -> None:
    jax.tree_util.register_pytree_with_keys(
        cls,
        lambda bound: (((jax.tree_util.GetAttrKey("__self__"), bound.__self__),), bound.__func__),
        lambda func, children: cls(func, next(iter(children))),
        lambda bound: ((bound.__self__,), bound.__func__),
    )


_register_bound(BoundWrapper)
Wrapper._bound = BoundWrapper
