"""Callables that are compiled: what they share with `jax.jit`, and the objects of its stages.

How the arguments of a call travel is decided in `engine`. Here is how a wrapper finds its engine,
its `lower`, `trace`, `eval_shape` and `clear_cache`, and what these return. Knows nothing of what else the
transforms do that compile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator
from typing import Any

import jax

from typedfilter._compiling.effects import Donated
from typedfilter._compiling.engine import Engine, JitOptions
from typedfilter._compiling.modes import STATIC_MODES, Mode, Pattern
from typedfilter._compiling.packing import Packed, unpack
from typedfilter._compiling.results import unpack_result
from typedfilter._compiling.tokens import Kept, Token
from typedfilter._compiling.traced import opened
from typedfilter._reading.plan import Plan, plan_of, refuse_lost_markers
from typedfilter._values.keys import exact_key, static_problem
from typedfilter._values.leaves import is_array_or_struct
from typedfilter._values.memory import Attached
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.stack import Bind, Link, is_module_below, unwind
from typedfilter._wrapping.wrapper import Transform, Wrapper
from typedfilter.errors import StaticArgumentError

__all__ = ["Compiling", "JitWrapper", "engine_of", "site_of"]


_engines: Attached[dict[tuple[Any, ...], Engine]] = Attached("__typedfilter_engines__", dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """What an engine is made of: a function (`root` with `links` around it), its plan and its options."""

    root: Callable[..., Any]
    links: tuple[Link, ...]
    plan: Plan
    bound: int
    options: JitOptions
    named: tuple[str, ...] = ()  # what is bound by name; only where that makes a difference
    itself: bool = False  # whether what is bound first is the callable itself; likewise

    def engine(self) -> Engine:
        """The engine of this function, shared by all who jit it with the same options.

        Names that are not defined yet are a part of the key: with them, the plan is another one.
        """
        engines = _engines.of(self.root)
        hints = (self.plan.returns, *(param.hint for param in self.plan.params))
        key = *self._key, tuple([name for hint in hints for name in hint.unresolved])
        found = engines.get(key)
        if found is None:
            found = engines.setdefault(key, self.lone_engine())
        return found

    def lone_engine(self) -> Engine:
        """An engine that nobody else will find, for a look at what it would do."""
        return Engine(self.root, self.links, self.plan, self.bound, self.options, self.named, self.itself)

    def engines(self) -> list[Engine]:
        """All that `engine` has made for this function and these options, whatever was defined then."""
        return [engine for key, engine in tuple(_engines.of(self.root).items()) if key[:-1] == self._key]

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.links, self.bound, self.options, self.named, self.itself


@dataclasses.dataclass(frozen=True, eq=False)
class Compiling(Transform):
    """A transform that compiles with `jax.jit`."""

    def jit_options(self) -> JitOptions:
        """What the engine is to know of the options."""
        return JitOptions(check=self.check)

    @property
    def inside(self) -> tuple[Transform, ...]:
        """The transforms that are compiled along with the function, innermost first."""
        return ()

    def site(self, fn: Callable[..., Any]) -> tuple[Site, tuple[Any, ...], dict[str, Any]]:
        """What the engine of `fn` is made of, and what is bound in front of the arguments of a call."""
        options = self.jit_options()
        unwound = unwind(fn)
        for link in self.inside:
            unwound = unwound.then(link)
        binds = [link for link in unwound.links if isinstance(link, Bind)]
        itself = options.donate != "none" and is_module_below(fn)
        if len(binds) < len(unwound.links):
            # What is bound below another transform travels as one argument, in front of all others.
            plan = plan_of(fn)
            if not unwound.bound:
                return Site(unwound.root, unwound.links, plan, 0, options), (), {}
            return (
                Site(
                    unwound.root,
                    unwound.links,
                    plan.with_first("bound"),
                    1,
                    options,
                    itself=itself and len(unwound.bound) == 1,
                ),
                (unwound.bound,),
                {},
            )
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        values = iter(unwound.bound)
        for bind in binds:
            args += [next(values) for _ in range(bind.positional)]
            kwargs |= {name: next(values) for name in bind.names}
        named = () if options.donate == "none" else tuple(sorted(kwargs))
        site = Site(unwound.root, (), plan_of(unwound.root), len(args), options, named, itself)
        return site, tuple(args), kwargs

    def donated(self, fn: Callable[..., Any]) -> Donated:
        """Which arguments are donated."""
        return self.site(fn)[0].lone_engine().donates

    @ends_at_caller
    def wrap(self, fn: Callable[..., Any], *, lent: bool = False) -> Wrapper:
        return JitWrapper(fn, self, lent)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        engine, args, kwargs = engine_of(wrapper)
        return functools.partial(engine.call, *args, **kwargs) if args or kwargs else engine.call


def engine_of(wrapper: Wrapper) -> tuple[Engine, tuple[Any, ...], dict[str, Any]]:
    """The engine of a jitted callable, and what is bound in front of the arguments of a call."""
    site, args, kwargs = site_of(wrapper)
    return site.engine(), args, kwargs


def site_of(wrapper: Wrapper) -> tuple[Site, tuple[Any, ...], dict[str, Any]]:
    """What the engine of a jitted callable is made of, and what is bound in front of the arguments."""
    transform = wrapper.transform
    assert isinstance(transform, Compiling)
    return transform.site(wrapper.__wrapped__)


class JitWrapper(Wrapper):
    """A callable that is compiled; what `filter_jit` and `filter_pmap` return."""

    __slots__ = ()

    @ends_at_caller
    def lower(self, /, *args: Any, **kwargs: Any) -> Lowered:
        """Trace and lower for these arguments.

        Arrays may be `jax.ShapeDtypeStruct`s; nothing is computed. What is static is fixed: the compiled
        program refuses to be called with anything else.
        """
        return Stages(self).lower(*args, **kwargs)

    @ends_at_caller
    def trace(self, /, *args: Any, **kwargs: Any) -> Traced:
        """Trace for these arguments, of which arrays may be `jax.ShapeDtypeStruct`s."""
        return Stages(self).trace(*args, **kwargs)

    @ends_at_caller
    def eval_shape(self, /, *args: Any, **kwargs: Any) -> Any:
        """The result with a `jax.ShapeDtypeStruct` in the place of each array; nothing is computed."""
        return Stages(self).eval_shape(*args, **kwargs)

    def clear_cache(self) -> None:
        """Forget every trace and compiled program of this function."""
        for engine in site_of(self)[0].engines():
            engine.clear_cache()

    def bound_stages(self, obj: Any) -> Stages:
        """The stages of this callable as a method of `obj`."""
        return Stages(self, obj)


class Stages:
    """`lower`, `trace` and `eval_shape` of a compiled callable, or of a method: then `obj` comes first."""

    def __init__(self, wrapper: Wrapper, *obj: Any) -> None:
        self._prepare = functools.partial(_Ahead.of, wrapper, obj)

    @ends_at_caller
    def lower(self, /, *args: Any, **kwargs: Any) -> Lowered:
        ahead = self._prepare(args, kwargs)
        with ahead.explained():
            return Lowered(ahead, ahead.jit.lower(*ahead.args, **ahead.kwargs))

    @ends_at_caller
    def trace(self, /, *args: Any, **kwargs: Any) -> Traced:
        ahead = self._prepare(args, kwargs)
        with ahead.explained():
            return Traced(ahead, ahead.jit.trace(*ahead.args, **ahead.kwargs))

    @ends_at_caller
    def eval_shape(self, /, *args: Any, **kwargs: Any) -> Any:
        ahead = self._prepare(args, kwargs)
        with ahead.explained():
            return unpack_result(ahead.jit.eval_shape(*ahead.args, **ahead.kwargs))


@dataclasses.dataclass(frozen=True)
class _Ahead:
    """A call that is prepared, not run: what `jax.jit`'s own methods take."""

    engine: Engine
    bound: tuple[tuple[Any, ...], dict[str, Any]]
    jit: Any
    pattern: Pattern
    args: list[Any]
    kwargs: dict[str, Any]
    kept: Kept
    contents: tuple[Any, ...]  # of its tokens: they are known again after the engine has forgotten them

    @classmethod
    def of(
        cls, wrapper: Wrapper, obj: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> _Ahead:
        plan = plan_of(wrapper.__wrapped__)
        refuse_lost_markers(plan)  # a name that may hide none can still be defined before the first call
        wrapper.transform.check_plan(plan)
        engine, bound_args, bound_kwargs = engine_of(wrapper)
        bound_args += obj
        pattern, positional, keyword = engine.prepare((*bound_args, *args), bound_kwargs | kwargs)
        bound = bound_args, bound_kwargs
        tokens = [value for value in (*positional, *keyword.values()) if type(value) is Token]
        contents = tuple([token.get() for token in tokens])
        return cls(engine, bound, engine.jit(pattern), pattern, positional, keyword, engine.kept, contents)

    @contextlib.contextmanager
    def explained(self) -> Generator[None]:
        """With our errors about arguments, and without JAX's warning about donated buffers if so wanted."""
        try:
            with self.engine.caution.quietly() if self.engine.options.quiet else contextlib.nullcontext():
                yield
        except Exception as error:
            self.engine.explain(
                error, tuple(map(opened, self.args)), {k: opened(v) for k, v in self.kwargs.items()}
            )
            raise

    def dynamic(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The traced arguments of another call, whose static ones must be those of this one.

        Raises:
            StaticArgumentError: a static value, or the structure around arrays, is another one.
        """
        bound_args, bound_kwargs = self.bound
        pattern, positional, keyword = self.engine.prepare((*bound_args, *args), bound_kwargs | kwargs)
        before = self._named(self.pattern, self.args, self.kwargs)
        now = self._named(pattern, positional, keyword)
        for name in [name for name in before if name in now]:  # what is missing or too much, JAX reports
            if not _same_static(before[name], now[name]):
                raise self._differs(name, *_static_texts(before[name], now[name]))
        static_at = self.pattern.at(*STATIC_MODES)
        static_names = self.pattern.named(*STATIC_MODES)
        return (
            [value for i, value in enumerate(positional) if i not in static_at],
            {name: value for name, value in keyword.items() if name not in static_names},
        )

    def _named(
        self, pattern: Pattern, args: list[Any], kwargs: dict[str, Any]
    ) -> dict[str, tuple[Mode, Any]]:
        """Each argument by its name, with how it travels: of named ones, the order does not matter."""
        arguments = self.engine.plan.arguments(args, kwargs)
        return {name: (mode, value) for (name, _, value), mode in zip(arguments, pattern.modes, strict=True)}

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
        return old_value.token is new_value.token
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
            if (
                not both_arrays
                and static_problem(new_leaf) is None
                and exact_key(old_leaf) != exact_key(new_leaf)
            ):
                return new_path, repr(old_leaf), repr(new_leaf)
        return "", str(old_value.rest().treedef), str(new_value.rest().treedef)
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
        return unpack_result(getattr(self._stage, name))  # `out_info` may be packed

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self._ahead.engine.plan.function}>"


class Traced(_Stage):
    """A traced function: `jaxpr`, `out_info`, `lower()`."""

    @ends_at_caller
    def lower(self, **options: Any) -> Lowered:
        """Lower for the platform at hand, or as `jax.stages.Traced.lower` says."""
        with self._ahead.explained():
            return Lowered(self._ahead, self._stage.lower(**options))


class Lowered(_Stage):
    """A lowered function: `compile()`, `as_text()`, `cost_analysis()`."""

    @ends_at_caller
    def compile(self, *args: Any, **options: Any) -> Compiled:
        """Compile; called with the arguments of the function, static ones included."""
        return Compiled(self._ahead, self._stage.compile(*args, **options))


class Compiled(_Stage):
    """A compiled function, for one choice of shapes and static values."""

    @ends_at_caller
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        positional, keyword = self._ahead.dynamic(args, kwargs)
        return unpack_result(self._stage(*positional, **keyword))
