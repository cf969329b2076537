"""How a call of a jitted function reaches `jax.jit`: one engine for a function and its options.

From the plan, and from the classes of what it leaves open, `modes` decides how each argument
travels: as it is (`TRACED`), as a static argument (`STATIC`), as a static argument behind its interned key
(`KEYED`), or as one packed node (`PACKED`). For each such pattern an engine has one `jax.jit` object, with a
body of its own. An engine never holds the function that it runs, so that it can live exactly
as long as that function does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax

from typedfilter._compiling.donation import Caution, Quietly, quiet_from_here, traced_up_to_here
from typedfilter._compiling.effects import Donated
from typedfilter._compiling.entry import Programs, write_shim
from typedfilter._compiling.modes import (
    STATIC_MODES,
    Mode,
    Pattern,
    array_types,
    is_left_out,
    mode_of,
    needs_a_look,
    passed_by_name,
)
from typedfilter._compiling.packing import Packer, pack, unpack
from typedfilter._compiling.results import PackedResult, Results, pack_output, unpack_result
from typedfilter._compiling.tokens import Kept, Token, static_token
from typedfilter._compiling.traces import Identity, _tell, trace_observers
from typedfilter._placing.shardings import Shardings, placed, placing
from typedfilter._reading import callables
from typedfilter._reading.plan import Binding, Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._shapes.check import checked, checks_off
from typedfilter._values.memory import weakly
from typedfilter._wrapping import blame as _diagnose
from typedfilter._wrapping import host_errors as _raised
from typedfilter._wrapping.call import OMITTED, without_omitted
from typedfilter._wrapping.frames import located, outside
from typedfilter._wrapping.stack import Link, rewind

__all__ = [
    "Engine",
    "opened",
]


@dataclasses.dataclass(frozen=True)
class JitOptions:
    """What of the options of `filter_jit` the engine knows."""

    donate: str = "none"
    check: bool = True
    inline: bool = False
    keep_unused: bool = False
    shardings: Shardings | None = None
    compiler: tuple[tuple[str, Any], ...] = ()

    @property
    def quiet(self) -> bool:
        """Whether JAX's warning about donated buffers that it could not use is suppressed."""
        return self.donate in ("all", "all-except-first")


_MAX_TABLE = 1024  # combinations of argument classes; a function called with more starts again


class Engine:
    """Runs one function (`root` with `links` around it) under `jax.jit`, by one set of options."""

    def __init__(
        self,
        root: Callable[..., Any],
        links: tuple[Link, ...],
        plan: Plan,
        bound: int,
        options: JitOptions,
        named: tuple[str, ...] = (),
    ) -> None:
        self.plan = plan
        self.module: str = getattr(root, "__module__", None) or __name__
        self.bound = bound  # so many arguments are bound by position: they are there for every call
        self.options = options
        self.donates = Donated(plan, options.donate, bound, named)
        self.returns_arrays = plan.returns.role in (Role.ARRAYS, Role.TRACED) and not links
        self._body_of = functools.partial(
            _body, weakly(root), links, bound, plan, options, self.returns_arrays, Identity()
        )
        self.as_written = bool(links) or plan.binding is Binding.KEPT
        self.kept = Kept()
        self.caution = Caution()
        self.table = Programs(self.first_call)
        self.jits: dict[Pattern, Any] = {}

    @functools.cached_property
    def call(self) -> Callable[..., Any]:
        """What a call of the wrapper enters: a function of the user's own signature.

        Other transforms in between are to receive their arguments as the caller gives them: what is passed by
        name, and what is left to its default, is not mapped as a positional argument is.
        """
        signature = callables.ANYTHING if self.as_written else self.plan.signature
        looks = [p.name for p in self.plan.params if needs_a_look(p) or p.name in self.left_out]
        by_type = frozenset(signature.parameters if self.as_written else looks)
        # The engine outlives its wrappers, and they hold this function: so it may hold the engine.
        call = write_shim(
            signature,
            by_type,
            not self.returns_arrays,
            self.left_out,
            table=self.table,
            explain=self.explain,
            outside=outside,
            packed=PackedResult,
            unpack=unpack_result,
        )
        call.__name__ = call.__qualname__ = self.plan.function  # for Python's own errors about arguments
        call.__module__ = self.module
        return call

    @functools.cached_property
    def left_out(self) -> dict[str, Any]:
        """The parameters whose default is never passed, with what travels in its place."""
        if self.as_written:
            return {}
        defaulted = [param for param in self.plan.params if param.default is not param.empty]
        donated = {param.name: bool(self.donates.effect(param)["donated"]) for param in defaulted}
        left = [param for param in defaulted if is_left_out(self.plan, param, donated[param.name])]
        return {param.name: OMITTED for param in left}

    # ------------------------------------------------------------------------------ patterns and programs

    def pattern(self, args: Sequence[Any], kwargs: dict[str, Any], structs: bool = False) -> Pattern:
        """How these arguments travel, filled into the places of the signature."""
        arguments = self.plan.arguments(args, kwargs)
        modes = [mode_of(param, value, structs) for _, param, value in arguments]
        by_name = dict(zip(kwargs, map(passed_by_name, modes[len(args) :]), strict=True))
        return Pattern(tuple(modes[: len(args)]), tuple(sorted(by_name.items(), key=operator.itemgetter(0))))

    def program(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
        """What to call with arguments of these classes from now on."""
        if len(self.table) >= _MAX_TABLE:
            self.table.clear()
        pattern = self.pattern(args, kwargs)
        call: Callable[..., Any] = self.jit(pattern)
        if Mode.KEYED in pattern.modes or Mode.PACKED in pattern.modes:
            call = functools.partial(_converting, call, *self.converters(pattern))
        if self.options.quiet:
            call = Quietly(call, self.caution)
        self.table[key] = call
        return call

    def first_call(self, key: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call with arguments of classes that were not seen before."""
        program = self.program(key, args, kwargs)  # held until its result is unpacked
        return unpack_result(program(*args, **kwargs))

    def jit(self, pattern: Pattern) -> Any:
        """The `jax.jit` object for a pattern."""
        found = self.jits.get(pattern)
        if found is None:
            if len(self.jits) >= _MAX_TABLE:  # ahead of time: that fills no table
                self.jits.clear()
            # Each a body of its own: JAX takes f(0, x) and f(x, 0) for one call if `f` is one function.
            body = self._body_of()
            by_place = [param.name for param in self.plan.params if param.kind is param.kind.POSITIONAL_ONLY]
            if any(name in by_place for name, _ in pattern.keyword):  # f(1, x=2) of f(x, /, **kwargs)
                body.__signature__ = callables.ANYTHING  # type: ignore[attr-defined]  # not to look for it
            found = self.jits.setdefault(pattern, jax.jit(body, **self.jit_options(pattern)))
        return found

    def jit_options(self, pattern: Pattern) -> dict[str, Any]:
        options: dict[str, Any] = {
            "static_argnums": pattern.at(*STATIC_MODES),
            "static_argnames": pattern.named(*STATIC_MODES),
            "donate_argnums": tuple(i for i in pattern.at(Mode.TRACED, Mode.PACKED) if self.donates(i)),
            "donate_argnames": tuple(n for n in pattern.named(Mode.TRACED, Mode.PACKED) if self.donates(n)),
            "inline": self.options.inline,
            "keep_unused": self.options.keep_unused,
            "compiler_options": dict(self.options.compiler),
            "out_shardings": None if self.options.shardings is None else self.options.shardings.for_jit(),
        }
        # Nothing that is not asked for: JAX keeps the static part of calls that may donate alive.
        return {name: value for name, value in options.items() if value}

    def converters(self, pattern: Pattern) -> tuple[list[tuple[int, Converter]], list[tuple[str, Converter]]]:
        """What to do with arguments that don't travel as they are, by position and by name."""
        makers: dict[Mode, Callable[[Param | None], Converter]] = {
            Mode.PACKED: lambda param: Packer(self.kept, array_types(param)),
            Mode.KEYED: lambda _: functools.partial(static_token, self.kept),
        }
        at, named = self.plan.positional, self.plan.keyword
        positional = [(i, makers[mode](at(i))) for i, mode in enumerate(pattern.positional) if mode in makers]
        return positional, [
            (name, makers[mode](named(name))) for name, mode in pattern.keyword if mode in makers
        ]

    def explain(self, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise a better error than `error`, if there is one."""
        better = self.better_error(error, args, kwargs)
        if better is not None:
            raise better from None

    def better_error(
        self, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Exception | None:
        """An error that says which argument is to blame for `error`; `None` where none is."""
        if self.options.shardings is not None and isinstance(error, ValueError):
            better = self.options.shardings.better_error(self.plan, self.bound, error, args, kwargs)
            if better is not None:
                return better
        return _diagnose.better_error(self.plan, error, args, kwargs)

    # ------------------------------------------------------------------------------------- ahead of time

    def prepare(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Pattern, list[Any], dict[str, Any]]:
        """The pattern of a call that may hold `jax.ShapeDtypeStruct`s, and its arguments converted."""
        given = self.plan.signature.bind(*args, **kwargs)
        if not self.as_written:  # as `call` does
            given.arguments = self.left_out | given.arguments
            given.apply_defaults()
            args, kwargs = given.args, given.kwargs
        pattern = self.pattern(args, kwargs, structs=True)
        try:
            positional = [
                self.convert(self.plan.positional(i), mode, value)
                for i, (mode, value) in enumerate(zip(pattern.positional, args, strict=True))
            ]
            keyword = {
                name: self.convert(self.plan.keyword(name), mode, kwargs[name])
                for name, mode in pattern.keyword
            }
        except Exception as error:
            self.explain(error, args, kwargs)
            raise
        return pattern, positional, keyword

    def convert(self, param: Param | None, mode: Mode, value: Any) -> Any:
        if mode is Mode.PACKED:
            return pack(self.kept, value, array_types(param, structs=True))
        return static_token(self.kept, value) if mode is Mode.KEYED else value

    def clear_cache(self) -> None:
        """Forget every trace and program. All that JAX holds of them hangs on the body: so it goes, too."""
        for jitted in self.jits.values():
            jitted.clear_cache()
        self.table.clear()
        self.jits.clear()
        self.caution.pending = 0
        self.kept = Kept()  # a call that runs just now has the old one


# ------------------------------------------------------------------------------------------ one argument

Converter = Callable[[Any], Any]


def _converting(
    call: Callable[..., Any],
    positional: list[tuple[int, Converter]],
    keyword: list[tuple[str, Converter]],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    converted = list(args)
    for i, convert in positional:
        converted[i] = convert(converted[i])
    for name, convert in keyword:
        kwargs[name] = convert(kwargs[name])
    return call(*converted, **kwargs)


# ------------------------------------------------------------------------------------------------ bodies


def _body(
    root: Callable[[], Any],
    links: tuple[Link, ...],
    bound: int,
    plan: Plan,
    options: JitOptions,
    returns_arrays: bool,
    identity: Identity,
) -> Callable[..., Any]:
    """What `jax.jit` traces: the function on what was packed or interned on the way in."""
    results: Results = weakref.WeakKeyDictionary()

    def run(*args: Any, **kwargs: Any) -> Any:
        args = tuple([opened(value) for value in args])
        kwargs = {name: opened(value) for name, value in kwargs.items()}
        args, kwargs = without_omitted(plan, args, kwargs)
        if trace_observers:
            _tell(plan, identity, args, kwargs)
        if options.quiet:
            quiet_from_here()
        if links:
            values, args, own = (args[0], args[1:], plan.without_first()) if bound else ((), args, plan)
            fn = rewind(root(), links, values, lent=True)
            fn = placed(fn, own, fn, options.shardings)
        else:
            fn = placed(root(), plan, checked(root(), plan), options.shardings, bound)
        with placing(), _raised.receiving(), contextlib.nullcontext() if options.check else checks_off():
            out = fn(*args, **kwargs)
        if options.quiet:
            traced_up_to_here()
        return out if returns_arrays else pack_output(results, out)

    traced = located(run, root(), plan.function)
    traced.__signature__ = plan.signature  # type: ignore[attr-defined]  # by it JAX names arguments
    return traced


def opened(value: Any) -> Any:
    """An argument as the user gave it, from what it travelled as."""
    return value.value() if type(value) is Token else unpack(value)
