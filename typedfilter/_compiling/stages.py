"""Callables that are compiled: what they share with `jax.jit`, and the objects of its stages.

How the arguments of a call travel is decided in `engine`. Here is how a wrapper finds its engine,
its `lower`, `trace`, `eval_shape` and `clear_cache`, and what these return. Knows nothing of what else the
transforms do that compile.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from typedfilter._compiling.ahead import Ahead
from typedfilter._compiling.effects import Donated
from typedfilter._compiling.engine import Engine
from typedfilter._compiling.failed import fitting
from typedfilter._compiling.options import JitOptions
from typedfilter._compiling.packing import Packed
from typedfilter._compiling.results import OpenResult, PackedResult, unpack_result
from typedfilter._placing.abstract import with_names, with_shardings
from typedfilter._reading.plan import Plan, plan_of, refuse_lost_markers
from typedfilter._values.memory import Attached
from typedfilter._wrapping.frames import ends_at_caller
from typedfilter._wrapping.stack import Bind, Link, is_module_below, unwind
from typedfilter._wrapping.wrapper import BoundWrapper, Transform, Wrapper

S = TypeVar("S")


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
        key = *self._key, tuple([name for _, hint in self.plan.by_name for name in hint.unresolved])
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

    def site(
        self, fn: Callable[..., Any], known: Plan | None = None
    ) -> tuple[Site, tuple[Any, ...], dict[str, Any]]:
        """What the engine of `fn` is made of, and what is bound in front of the arguments of a call.

        Args:
            fn: what is compiled.
            known: its plan, of whoever has it.
        """
        options = self.jit_options()
        unwound = unwind(fn)
        for link in self.inside:
            unwound = unwound.then(link)
        binds = [link for link in unwound.links if isinstance(link, Bind)]
        itself = options.donate != "none" and is_module_below(fn)
        if len(binds) < len(unwound.links):
            # What is bound below another transform travels as one argument, in front of all others.
            plan = known or plan_of(fn)
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
        plan = known if known is not None and not binds else plan_of(unwound.root)
        site = Site(unwound.root, (), plan, len(args), options, named, itself)
        return site, tuple(args), kwargs

    def donated(self, fn: Callable[..., Any]) -> Donated:
        """Which arguments are donated."""
        return self.site(fn)[0].lone_engine().donates

    @ends_at_caller
    def wrap(self, fn: Callable[..., Any], *, lent: bool = False) -> Wrapper:
        return JitWrapper(fn, self, lent)

    def build(self, wrapper: Wrapper, plan: Plan) -> Callable[..., Any]:
        engine, args, kwargs = engine_of(wrapper, plan)
        return functools.partial(engine.call, *args, **kwargs) if args or kwargs else engine.call


def engine_of(wrapper: Wrapper, known: Plan | None = None) -> tuple[Engine, tuple[Any, ...], dict[str, Any]]:
    """The engine of a jitted callable, and what is bound in front of the arguments of a call."""
    site, args, kwargs = site_of(wrapper, known)
    return site.engine(), args, kwargs


def site_of(wrapper: Wrapper, known: Plan | None = None) -> tuple[Site, tuple[Any, ...], dict[str, Any]]:
    """What the engine of a jitted callable is made of, and what is bound in front of the arguments."""
    transform = wrapper.transform
    assert isinstance(transform, Compiling)
    return transform.site(wrapper.__wrapped__, known)


class Stages:
    """`lower`, `trace` and `eval_shape` of what is compiled."""

    __slots__ = ()

    @abc.abstractmethod
    def _prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ahead:
        """A call with these arguments, which is not run."""

    @ends_at_caller
    def lower(self, /, *args: Any, **kwargs: Any) -> Lowered:
        """Trace and lower for these arguments.

        Arrays may be `jax.ShapeDtypeStruct`s; nothing is computed. What is static is fixed: the compiled
        program refuses to be called with anything else.
        """
        ahead = self._prepare(args, kwargs)
        with ahead.explained():
            return Lowered(ahead, ahead.jit.lower(*ahead.args, **ahead.kwargs))

    @ends_at_caller
    def trace(self, /, *args: Any, **kwargs: Any) -> Traced:
        """Trace for these arguments, of which arrays may be `jax.ShapeDtypeStruct`s."""
        ahead = self._prepare(args, kwargs)
        with ahead.explained():
            return Traced(ahead, ahead.jit.trace(*ahead.args, **ahead.kwargs))

    @ends_at_caller
    def eval_shape(self, /, *args: Any, **kwargs: Any) -> Any:
        """The result with a `jax.ShapeDtypeStruct` in the place of each array; nothing is computed."""
        ahead = self._prepare(args, kwargs)
        with ahead.explained():
            result = unpack_result(ahead.jit.eval_shape(*ahead.args, **ahead.kwargs))
            return with_shardings(ahead.engine.placement, result)


class BoundJit(Stages, BoundWrapper):  # pyright: ignore[reportIncompatibleMethodOverride]  # `__doc__`
    """A compiled method."""

    __slots__ = ()

    def _prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ahead:
        return _prepared(self.__func__, (self.__self__,), args, kwargs)


class JitWrapper(Stages, Wrapper):  # pyright: ignore[reportIncompatibleMethodOverride]  # `__doc__`
    """A callable that is compiled; what `filter_jit` and `filter_pmap` return."""

    __slots__ = ()
    _bound = BoundJit

    def _prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ahead:
        return _prepared(self, (), args, kwargs)

    def clear_cache(self) -> None:
        """Forget every trace and compiled program of this function."""
        for engine in site_of(self)[0].engines():
            engine.clear_cache()


def _prepared(wrapper: Wrapper, obj: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ahead:
    plan = plan_of(wrapper.__wrapped__)
    refuse_lost_markers(plan)  # a name that may hide none can still be defined before the first call
    wrapper.transform.accept(wrapper.__wrapped__, plan)
    engine, bound_args, bound_kwargs = engine_of(wrapper, plan)
    engine = fitting(engine, (*bound_args, *obj, *args), bound_kwargs | kwargs)
    return Ahead.of(engine, (bound_args + obj, bound_kwargs), args, kwargs)


class _Stage:
    """A stage of JAX's own (`jax.stages`), of a call with arguments as the user gives them.

    What is not said here is JAX's: `as_text`, `cost_analysis`, `memory_analysis`, `compiler_ir`, ...
    """

    def __init__(self, ahead: Ahead, stage: Any) -> None:
        self._ahead = ahead
        self._stage = stage

    def __getattr__(self, name: str) -> Any:
        return _attribute(name, self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self._ahead.engine.plan.function}>"


def _shown(name: str, value: Any, classes: frozenset[type]) -> Any:
    """What a stage of JAX's says, without what is private here."""
    if name in ("in_tree", "out_tree"):
        shown = jax.tree_util.tree_unflatten(value, range(value.num_leaves))
        return jax.tree_util.tree_structure(_listed(shown, classes if name == "out_tree" else frozenset()))
    return _listed(value) if name in _OF_ARGUMENTS else unpack_result(value)


_OF_ARGUMENTS = ("args_info", "in_avals", "input_formats", "input_shardings")


def _listed(tree: Any, classes: frozenset[type] = frozenset()) -> Any:
    """A tree with the arrays of what is packed as a list: so they can be pickled, and are found by number.

    Of plain containers in which nothing is static, the containers stay.

    Args:
        tree: the tree.
        classes: those of models that are packed as arguments. Where one is a result, it holds nothing but
            arrays (a gradient, say), and is a list in the same way.
    """

    def is_packed(node: Any) -> bool:
        return type(node) in (Packed, PackedResult, OpenResult) or type(node) in classes

    def listed(node: Any) -> Any:
        if type(node) is OpenResult:
            return _listed(node.tree, classes)
        if type(node) in classes:
            return jax.tree_util.tree_leaves(node)
        plain = node.plain_tree() if type(node) is Packed else None
        if plain is not None:
            return plain
        return list(node.arrays) if is_packed(node) else node

    return jax.tree_util.tree_map(listed, tree, is_leaf=is_packed)


def _of_jax(base: type) -> Callable[[type[S]], type[S]]:
    """A stage whose public attributes are those of the stage of JAX's that it is made of."""

    def made(cls: type[S]) -> type[S]:
        for name in dir(base):
            if not name.startswith("_") and name not in vars(cls):
                setattr(cls, name, property(functools.partial(_attribute, name)))
        return cls

    return made


def _attribute(name: str, stage: Any) -> Any:
    ahead = stage._ahead
    shown = _shown(name, getattr(stage._stage, name), ahead.classes)
    if name == "input_shardings":
        infos = _attribute("args_info", stage)
        return with_names(ahead.engine.placement, ahead.opened, infos, shown, ahead.mesh)
    return with_shardings(ahead.engine.placement, shown) if name == "out_info" else shown


@_of_jax(jax.stages.Traced)
class Traced(_Stage, jax.stages.Traced):
    """A traced function: `jaxpr`, `out_info`, `lower()`."""

    @ends_at_caller
    def lower(self, **options: Any) -> Lowered:
        """Lower for the platform at hand, or as `jax.stages.Traced.lower` says."""
        with self._ahead.explained():
            return Lowered(self._ahead, self._stage.lower(**options))


@_of_jax(jax.stages.Lowered)
class Lowered(_Stage, jax.stages.Lowered):
    """A lowered function: `compile()`, `as_text()`, `cost_analysis()`."""

    @ends_at_caller
    def compile(self, *args: Any, **options: Any) -> Compiled:
        """Compile; called with the arguments of the function, static ones included."""
        return Compiled(self._ahead, self._stage.compile(*args, **options))


@_of_jax(jax.stages.Compiled)
class Compiled(_Stage, jax.stages.Compiled):
    """A compiled function, for one choice of shapes and static values."""

    __slots__ = ("__call__",)  # as in a wrapper: without a frame

    def __init__(self, ahead: Ahead, stage: Any) -> None:
        super().__init__(ahead, stage)
        args, kwargs = ahead.bound
        call = ahead.compiled(stage)
        self.__call__ = functools.partial(call, *args, **kwargs) if args or kwargs else call  # type: ignore[method-assign]
