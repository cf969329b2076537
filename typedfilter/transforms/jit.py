"""`filter_jit`: `jax.jit` by annotations, and the ahead-of-time objects that go with it.

Floor 4. How arguments travel is decided in `_engine`; here are the public options, the wrapper with its
`lower`, `trace`, `eval_shape` and `clear_cache`, and what these return.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable
from typing import Any, ClassVar, overload

import jax
from typing_extensions import Unpack

from typedfilter._engine import STATIC_MODES, Engine, JitOptions, Mode, Pattern, engine_for
from typedfilter._keys import exact_key, static_problem
from typedfilter._plan import Plan, plan_of, check_jit
from typedfilter._signatures import C, Donation, Gradual, JitDecorator, Jitted, JitKeywords, M, P, R
from typedfilter._split import Packed, unpack
from typedfilter._wrapper import Bind, Transform, Wrapper, unwind
from typedfilter.errors import AnnotationError, StaticArgumentError
from typedfilter.filters import is_array_or_struct

__all__ = ["filter_jit"]

_DONATIONS = typing.get_args(Donation)


@dataclasses.dataclass(frozen=True, eq=False)
class Jit(Transform):
    """The options of `filter_jit`."""

    name: ClassVar[str] = "filter_jit"
    donate: Donation = "none"
    inline: bool = False
    keep_unused: bool = False

    def check_plan(self, plan: Plan) -> None:
        if self.donate not in _DONATIONS:
            raise AnnotationError(
                f"filter_jit has no donate={self.donate!r}",
                function=plan.function,
                expected=" or ".join(map(repr, _DONATIONS)),
                actual=repr(self.donate),
                fix="pass one of these, or annotate single arguments as Donate[...]",
            )
        check_jit(plan, self.donate)

    def plan(self, inner: Plan) -> Plan:
        return inner

    def wrap(self, fn: Callable[..., Any]) -> Wrapper:
        return JitWrapper(fn, self)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        engine, args, kwargs = engine_of(wrapper)
        return functools.partial(engine.call, *args, **kwargs) if args or kwargs else engine.call


def engine_of(wrapper: Wrapper) -> tuple[Engine, tuple[Any, ...], dict[str, Any]]:
    """The engine of a jitted callable, and what is bound in front of the arguments of a call."""
    transform = wrapper.transform
    assert isinstance(transform, Jit)
    options = JitOptions(transform.donate, transform.check, transform.inline, transform.keep_unused)
    unwound = unwind(wrapper.__wrapped__)
    binds = [link for link in unwound.links if isinstance(link, Bind)]
    if len(binds) < len(unwound.links):
        # What is bound below another transform travels as one argument, in front of all others.
        plan = plan_of(wrapper.__wrapped__)
        if not unwound.bound:
            return engine_for(unwound.root, unwound.links, plan, 0, options), (), {}
        return engine_for(unwound.root, unwound.links, plan.with_first("bound"), 1, options), (unwound.bound,), {}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    values = iter(unwound.bound)
    for bind in binds:
        args += [next(values) for _ in range(bind.positional)]
        kwargs |= {name: next(values) for name in bind.names}
    return engine_for(unwound.root, (), plan_of(unwound.root), len(args), options), tuple(args), kwargs


class JitWrapper(Wrapper):
    """What `filter_jit` returns."""

    __slots__ = ()

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """Trace and lower for these arguments.

        Arrays may be `jax.ShapeDtypeStruct`s; nothing is computed. What is static is fixed: the compiled
        program refuses to be called with anything else.
        """
        ahead = _Ahead.of(self, args, kwargs)
        return Lowered(ahead, ahead.jit.lower(*ahead.args, **ahead.kwargs))

    def trace(self, *args: Any, **kwargs: Any) -> Traced:
        """Trace for these arguments, of which arrays may be `jax.ShapeDtypeStruct`s."""
        ahead = _Ahead.of(self, args, kwargs)
        return Traced(ahead, ahead.jit.trace(*ahead.args, **ahead.kwargs))

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The result with a `jax.ShapeDtypeStruct` in the place of each array; nothing is computed."""
        ahead = _Ahead.of(self, args, kwargs)
        return unpack(ahead.jit.eval_shape(*ahead.args, **ahead.kwargs))

    def clear_cache(self) -> None:
        """Forget every trace and compiled program of this function."""
        engine_of(self)[0].clear_cache()


@dataclasses.dataclass(frozen=True)
class _Ahead:
    """A call that is prepared, not run: what `jax.jit`'s own methods take."""

    engine: Engine
    bound: tuple[tuple[Any, ...], dict[str, Any]]
    jit: Any
    pattern: Pattern
    args: list[Any]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, wrapper: Wrapper, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Ahead:
        plan = plan_of(wrapper.__wrapped__)
        wrapper.transform.check_plan(plan)
        engine, bound_args, bound_kwargs = engine_of(wrapper)
        pattern, positional, keyword = engine.prepare((*bound_args, *args), bound_kwargs | kwargs)
        return cls(engine, (bound_args, bound_kwargs), engine.jit(pattern), pattern, positional, keyword)

    def dynamic(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The traced arguments of another call, whose static ones must be those of this one.

        Raises:
            StaticArgumentError: a static value, or the structure around arrays, is another one.
        """
        bound_args, bound_kwargs = self.bound
        pattern, positional, keyword = self.engine.prepare((*bound_args, *args), bound_kwargs | kwargs)
        names = self.engine.plan.bind_names(len(positional), tuple(keyword))
        before = zip(self.pattern.modes, (*self.args, *self.kwargs.values()), strict=True)
        now = zip(pattern.modes, (*positional, *keyword.values()), strict=True)
        for name, old, new in zip(names, before, now, strict=False):
            if not _same_static(old, new):
                raise self._differs(name, *_static_texts(old, new))
        static_at = self.pattern.at(*STATIC_MODES)
        static_names = self.pattern.named(*STATIC_MODES)
        return (
            [value for i, value in enumerate(positional) if i not in static_at],
            {name: value for name, value in keyword.items() if name not in static_names},
        )

    def _differs(self, name: str, path: str, expected: str, actual: str) -> StaticArgumentError:
        return StaticArgumentError(
            "is static, and is not what the program was compiled for",
            function=self.engine.plan.function,
            parameter=name + path,
            expected=expected,
            actual=actual,
            fix="lower and compile for this value too, or call the jitted function itself",
        )


def _same_static(old: tuple[Mode, Any], new: tuple[Mode, Any]) -> bool:
    (old_mode, old_value), (new_mode, new_value) = old, new
    if old_mode is not new_mode:
        return old_mode not in (*STATIC_MODES, Mode.PACKED) and new_mode not in (*STATIC_MODES, Mode.PACKED)
    if old_mode is Mode.PACKED:
        return old_value.part is new_value.part
    if old_mode is Mode.STATIC:
        return type(old_value) is type(new_value) and bool(old_value == new_value)
    return old_mode is Mode.TRACED or old_value is new_value


def _static_texts(old: tuple[Mode, Any], new: tuple[Mode, Any]) -> tuple[str, str, str]:
    """Where two arguments differ, and what stands there in each."""
    (_, old_value), (_, new_value) = old, new
    if type(old_value) is type(new_value) is Packed:
        paths = zip(_paths(old_value), _paths(new_value), strict=False)
        for (old_path, old_leaf), (new_path, new_leaf) in paths:
            if old_path != new_path:
                return "", f"a leaf at {old_path or 'the root'}", f"a leaf at {new_path or 'the root'}"
            both_arrays = is_array_or_struct(old_leaf) and is_array_or_struct(new_leaf)
            if not both_arrays and static_problem(new_leaf) is None and exact_key(old_leaf) != exact_key(new_leaf):
                return new_path, repr(old_leaf), repr(new_leaf)
        return "", str(old_value.part.treedef), str(new_value.part.treedef)
    return "", repr(unpack(old_value)), repr(unpack(new_value))


def _paths(packed: Packed) -> list[tuple[str, Any]]:
    flat = jax.tree_util.tree_flatten_with_path(unpack(packed))[0]
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in flat]


class _Stage:
    """A stage of JAX's own (`jax.stages`), of a call with arguments as the user gives them.

    What is not said here is JAX's: `as_text`, `cost_analysis`, `memory_analysis`, `compiler_ir`, ...
    """

    def __init__(self, ahead: _Ahead, stage: Any) -> None:
        self._ahead = ahead
        self._stage = stage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self._ahead.engine.plan.function}>"


class Traced(_Stage):
    """A traced function: `jaxpr`, `out_info`, `lower()`."""

    def lower(self, **options: Any) -> Lowered:
        """Lower for the platform at hand, or as `jax.stages.Traced.lower` says."""
        return Lowered(self._ahead, self._stage.lower(**options))


class Lowered(_Stage):
    """A lowered function: `compile()`, `as_text()`, `cost_analysis()`."""

    def compile(self, *args: Any, **options: Any) -> Compiled:
        """Compile; called with the arguments of the function, static ones included."""
        return Compiled(self._ahead, self._stage.compile(*args, **options))


class Compiled(_Stage):
    """A compiled function, for one choice of shapes and static values."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        positional, keyword = self._ahead.dynamic(args, kwargs)
        return unpack(self._stage(*positional, **keyword))


@overload
def filter_jit(fun: Gradual[R], /, **options: Unpack[JitKeywords]) -> Jitted[Callable[..., R]]: ...
@overload
def filter_jit(fun: M, /, **options: Unpack[JitKeywords]) -> M: ...
@overload
def filter_jit(fun: C, /, **options: Unpack[JitKeywords]) -> C: ...
@overload
def filter_jit(fun: Callable[P, R], /, **options: Unpack[JitKeywords]) -> Jitted[Callable[P, R]]: ...
@overload
def filter_jit(**options: Unpack[JitKeywords]) -> JitDecorator: ...
def filter_jit(
    fun: Any = None,
    *,
    donate: Donation = "none",
    check: bool = True,
    inline: bool = False,
    keep_unused: bool = False,
) -> Any:
    """Compile a function with `jax.jit`, with annotations instead of `static_argnums`.

    An argument is traced, static or donated as its annotation says. Where there is none, leaf by leaf:
    JAX and NumPy arrays are traced, everything else is static. Results may hold anything; what is not an
    array comes back as it was when the function was traced.

    Args:
        fun: a pure function, method, class, partial, or callable pytree, whose arrays stay inputs.
        donate: `"all"` donates every array, `"all-except-first"` all but those of the first argument;
            `"warn"` and `"warn-except-first"` do the same, and let JAX warn about buffers that it could
            not use. With `"none"` only arguments annotated `Donate[...]` are donated.
        check: check shapes, dtypes and types while tracing. A compiled call is not slowed down by it.
        inline: as in `jax.jit`.
        keep_unused: as in `jax.jit`.

    Returns:
        A callable with the signature of `fun`, which also has `lower`, `trace`, `eval_shape` and
        `clear_cache`. Without `fun`, a decorator.

    Raises:
        AnnotationError: annotations contradict each other or the options (when the decorator runs).
        StaticArgumentError: a static value is unhashable or an array (at the call).
        ShapeError: an argument is not what its annotation says (at the call, while tracing).
        DonationError: an array that was donated to an earlier call is passed again.
    """
    transform = Jit(donate, inline, keep_unused, check=check)
    return transform.wrap if fun is None else transform.wrap(fun)
