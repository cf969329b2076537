"""How a call of a jitted function reaches `jax.jit`: one engine for a function and its options.

From the plan, and from the classes of what it leaves open, `modes` decides how each argument
travels: as it is (`TRACED`), as a static argument (`STATIC`), as a static argument behind its interned key
(`KEYED`), or as one packed node (`PACKED`). For each such pattern an engine has one `jax.jit` object, with a
body of its own. An engine never holds the function that it runs, so that it can live exactly
as long as that function does.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax

from typedfilter._compat import DONATED_CALLS_CRASH
from typedfilter._compiling.donation import Caution, Quietly
from typedfilter._compiling.effects import Donated
from typedfilter._compiling.entry import Quick, watch, write_shim
from typedfilter._compiling.failed import explain
from typedfilter._compiling.given import are_spread
from typedfilter._compiling.guards import ByPosition, Converter, NumpyGuard, converting
from typedfilter._compiling.modes import (
    STATIC_MODES,
    Mode,
    Models,
    Pattern,
    array_types,
    is_beside_type,
    is_left_out,
    passed_by_name,
)
from typedfilter._compiling.options import JitOptions
from typedfilter._compiling.packing import Packer, pack
from typedfilter._compiling.results import (
    Opened,
    OpenResult,
    PackedResult,
    Results,
    open_output,
    pack_output,
    unpack_result,
)
from typedfilter._compiling.tokens import Kept, static_token
from typedfilter._compiling.traced import Body
from typedfilter._compiling.traces import History
from typedfilter._placing.blocks import SaysSpecs
from typedfilter._placing.shardings import ForJit, Placement, Shardings
from typedfilter._reading import callables
from typedfilter._reading.hidden import MAPPING
from typedfilter._reading.plan import Argument, Binding, Param, Plan
from typedfilter._reading.roles import Role
from typedfilter._shapes.switch import checking, report
from typedfilter._values.leaves import holds_ref
from typedfilter._values.memory import weakly
from typedfilter._wrapping.blame import static_array
from typedfilter._wrapping.call import OMITTED, bound_to
from typedfilter._wrapping.frames import hidden, outside, place_of
from typedfilter._wrapping.stack import Bind, Link
from typedfilter._wrapping.wrapper import Transform

__tracebackhide__ = hidden  # asked by pytest


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
        itself: bool = False,
    ) -> None:
        self.plan = plan
        self.module: str = getattr(root, "__module__", None) or __name__
        self.bound = bound  # so many arguments are bound by position: they are there for every call
        self.options = options
        self.donates = Donated(plan, options.donate, bound, named, itself)
        self.returns_arrays = plan.returns.role in (Role.ARRAYS, Role.TRACED) and not links
        annotated = _places_in_annotations(root, links, plan)
        self.placement = Placement(plan, annotated, bound, options.shardings, options.mesh)
        opens = not self.returns_arrays and self.placement.of_result().is_for_parts
        self.opened = Opened() if opens else None
        self.as_written = bool(links) or plan.binding is Binding.KEPT
        self.root, self._links, self._bound_as = weakly(root), links, (named, itself)
        place, looking = place_of(root), _looking(weakref.ref(self))
        self.history = History(plan.function, place, options.max_traces, looking)
        self.models = Models(plan)
        known = self._packing(), self.history, self.models, self.placement
        self._body = Body(self.root, links, plan, bound, options, *known)
        self.kept = Kept()
        self.caution = Caution()
        self.table: dict[Any, Callable[..., Any]] = {}
        self.jits: dict[tuple[Pattern, bool, bool], Any] = {}

    def _packing(self) -> Callable[[Results, Any], Any]:
        """What becomes of a result on its way to JAX."""
        if self.returns_arrays:
            return lambda _, out: out
        how = pack_output if self.opened is None else functools.partial(open_output, self.opened)
        return functools.partial(how, function=self.plan.function)

    @functools.cached_property
    def call(self) -> Callable[..., Any]:
        """What a call of the wrapper enters."""
        # The engine outlives its wrappers, and they hold this function: so it may hold the engine.
        return self.shim(self.table, self.first_call, functools.partial(explain, self))

    @functools.cached_property
    def entered(self) -> tuple[inspect.Signature, frozenset[str]]:
        """The signature of what a call enters, and its parameters whose classes tell how they travel.

        Other transforms in between are to receive their arguments as the caller gives them: what is passed by
        name, and what is left to its default, is not mapped as a positional argument is.
        """
        signature = callables.ANYTHING if self.as_written else self.plan.signature
        looks = [*(param.name for param in self.plan.seen_by_class()), *self.left_out]
        return signature, frozenset(signature.parameters if self.as_written else looks)

    def shim(
        self,
        table: dict[Any, Callable[..., Any]],
        first: Callable[..., Any],
        explaining: Callable[..., Any],
        quick: Quick | None = None,
        program: Any = None,
    ) -> Callable[..., Any]:
        """A function of the user's own signature that calls what a table has for its arguments.

        Args:
            table: the programs,
            first: and what is called with a key that has none yet, before the arguments.
            explaining: raises a better error, or returns what to call instead.
            quick: what is tried before,
            program: and enters this.
        """
        signature, by_type = self.entered
        call = write_shim(
            signature,
            by_type,
            not self.returns_arrays,
            self.left_out,
            self._guarded(signature) if DONATED_CALLS_CRASH else (),
            quick,
            quick=program,
            table=table,
            first=first,
            explain=explaining,
            outside=outside,
            packed=PackedResult if self.opened is None else OpenResult,
            unpack=self.opened or unpack_result,
        )
        name = self.plan.function  # for Python's own errors about arguments, and for beartype
        call.__name__, call.__qualname__ = name.rpartition(".")[2], name
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

    def _guarded(self, signature: inspect.Signature) -> tuple[str, ...]:
        """The parameters that take what may have been donated before."""
        static = {param.name for param in self.plan.params if param.hint.role is Role.STATIC}
        return tuple(name for name in signature.parameters if self.as_written or name not in static)

    # ------------------------------------------------------------------------------ patterns and programs

    def pattern(self, args: Sequence[Any], kwargs: dict[str, Any], structs: bool = False) -> Pattern:
        """How these arguments travel, filled into the places of the signature."""
        arguments = self.plan.arguments(args, kwargs)
        modes = [self.models.mode_of(param, value, structs) for _, param, value in arguments]
        for argument, mode in zip(arguments, modes, strict=True):
            beside = mode is Mode.TRACED and is_beside_type(argument.param, argument.value)
            if beside and not (self._maps and argument.value.ndim):
                self._tell_static(argument)
        by_name = dict(zip(kwargs, map(passed_by_name, modes[len(args) :]), strict=True))
        return Pattern(tuple(modes[: len(args)]), tuple(sorted(by_name.items(), key=operator.itemgetter(0))))

    @functools.cached_property
    def _maps(self) -> bool:
        """Whether a map is in between: what is a number to the function is an array of them to a call."""
        return any(isinstance(link, Transform) and link.reads >= MAPPING for link in self._links)

    def _tell_static(self, argument: Argument) -> None:
        """Report an array where what is annotated is static; where checks are off, it is traced."""
        with checking(self.options.check):
            error = static_array(self.plan, argument)
            report(error, self.root(), (error.function, (argument.name,)))

    @functools.cached_property
    def by_rule(self) -> Engine | None:
        """The engine of calls that don't fit what is annotated, where checks don't mind; itself has none."""
        root, plan = self.root(), self.plan.by_rule
        if root is None or plan is self.plan:
            return None
        return Engine(root, self._links, plan, self.bound, self.options, *self._bound_as)

    def program(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
        """What to call with arguments of these classes from now on."""
        if len(self.table) >= _MAX_TABLE:
            self.table.clear()
        pattern = self.pattern(args, kwargs)
        call = self.converting(pattern, self.jit(pattern, donate=self.may_donate(args, kwargs)))
        if self.options.quiet:
            call = Quietly(call, self.caution)
        self.table[key] = call
        return call

    def converting(self, pattern: Pattern, jitted: Any) -> Callable[..., Any]:
        """`jitted`, called with arguments as the user gives them."""
        call: Callable[..., Any] = jitted
        if Mode.KEYED in pattern.modes or Mode.PACKED in pattern.modes:
            call = functools.partial(converting, call, *self.converters(pattern))
        return self.guarded(call, self.placement)

    def guarded(self, call: Callable[..., Any], placement: Placement | None = None) -> Callable[..., Any]:
        """`call`, which of several processes takes no NumPy array of each for one of all.

        Args:
            call: of a program,
            placement: whose places have to fit arguments and mesh; `None` where that was looked at.
        """
        if jax.process_count() == 1:
            return call
        inside = [self.placement]
        inside += [] if self.placement.annotated else [Placement(self.plan, True, self.bound)]
        specs = [link.specs for link in self._links if isinstance(link, SaysSpecs)]
        said = [Shardings.of(one, None) for one in specs if one is not None]
        inside += [Placement(self.plan, False, self.bound, one) for one in said]
        return NumpyGuard(call, placement, inside)  # fields may say a place, too

    def unplaced(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call of which `jax.jit` is told no places: on no devices, or those of an abstract mesh."""
        pattern = self.pattern(args, kwargs)
        call = self.converting(pattern, self.jit(pattern, told=False))
        return unpack_result(call(*args, **kwargs))

    def first_call(self, key: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call with arguments of classes that were not seen before."""
        program = self.program(key, args, kwargs)  # held until its result is unpacked
        return unpack_result(program(*args, **kwargs))

    def may_donate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the option may give arrays away: beside a `jax.Ref`, JAX gives one memory away twice."""
        return self.options.donate == "none" or not holds_ref((args, kwargs))

    def jit(self, pattern: Pattern, told: bool = True, donate: bool = True) -> Any:
        """The `jax.jit` object for a pattern.

        Args:
            pattern: how the arguments travel.
            told: whether it is told the places that are known before a call.
            donate: whether more is donated than what is annotated.
        """
        key = pattern, told, donate
        found = self.jits.get(key)
        if found is None:
            if len(self.jits) >= _MAX_TABLE:  # ahead of time: that fills no table
                self.jits.clear()
            # Each a body of its own: JAX takes f(0, x) and f(x, 0) for one call if `f` is one function.
            found = self.jits.setdefault(key, self._new_jit(*key))
        return found

    def _new_jit(self, pattern: Pattern, told: bool, donate: bool) -> Any:
        places = self._for_jit(pattern) if told and self.placement.says_something else ForJit()
        names = pattern.names if places.inputs is not None else ()
        traced = self._body.traced(places, names)
        by_place = [param.name for param in self.plan.params if param.kind is param.kind.POSITIONAL_ONLY]
        takers = [taker for _, taker in self.plan.layout(len(pattern.positional), pattern.names)]
        # f(1, x=2) of f(x, /, **kwargs); or a call that does not fit, for Python to refuse.
        if None in takers or any(name in by_place for name in pattern.names):
            traced.__signature__ = callables.ANYTHING  # type: ignore[attr-defined]  # not to look for it
        donated = self.donates if donate else dataclasses.replace(self.donates, option="none")
        donates = donated.of_call(pattern.places, takers)
        options = self.jit_options(pattern.by_position() if names else pattern, places, donates)
        jitted = jax.jit(traced, **options)
        return ByPosition(jitted, names) if names else jitted

    def _for_jit(self, pattern: Pattern) -> ForJit:
        whole = [mode is Mode.TRACED for mode in pattern.modes]
        moves = [mode not in STATIC_MODES for mode in pattern.modes]
        return self.placement.for_jit(len(pattern.positional), pattern.names, whole, moves)

    def jit_options(self, pattern: Pattern, places: ForJit, donates: list[bool]) -> dict[str, Any]:
        by_name = dict(zip(pattern.names, donates[len(pattern.positional) :], strict=True))
        options: dict[str, Any] = {
            "static_argnums": pattern.at(*STATIC_MODES),
            "static_argnames": pattern.named(*STATIC_MODES),
            "donate_argnums": tuple(i for i in pattern.at(Mode.TRACED, Mode.PACKED) if donates[i]),
            "donate_argnames": tuple(n for n in pattern.named(Mode.TRACED, Mode.PACKED) if by_name[n]),
            "inline": self.options.inline,
            "keep_unused": self.options.keep_unused,
            "compiler_options": dict(self.options.compiler),
        }
        # Nothing that is not asked for: JAX keeps the static part of calls that may donate alive.
        options = {name: value for name, value in options.items() if value}
        if places.inputs is not None:
            options["in_shardings"] = places.inputs
        if places.output is not None:
            options["out_shardings"] = places.output if self.opened is None else OpenResult(places.output)
        return options

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

    # ------------------------------------------------------------------------------------- ahead of time

    def prepare(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Pattern, list[Any], dict[str, Any]]:
        """The pattern of a call that may hold `jax.ShapeDtypeStruct`s, and its arguments converted."""
        given = bound_to(self.plan, args, kwargs)
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
            explain(self, error, args, kwargs)
            raise
        return pattern, positional, keyword

    def convert(self, param: Param | None, mode: Mode, value: Any) -> Any:
        if mode is Mode.PACKED:
            return pack(self.kept, value, array_types(param, structs=True))
        return static_token(self.kept, value) if mode is Mode.KEYED else value

    def clear_cache(self) -> None:
        """Forget every trace and program. All that JAX holds of them hangs on the body: so it goes, too."""
        for jitted in tuple(self.jits.values()):  # a call may add to them meanwhile
            jitted.clear_cache()
        self.table.clear()
        self.jits.clear()
        self.caution.pending = 0
        self.history.clear()
        self.__dict__.pop("by_rule", None)
        self.kept = Kept()  # a call that runs just now has the old one


def _looking(engine: Callable[[], Engine | None]) -> Callable[[Any], None] | None:
    """What has the calls of an engine look for arrays that are gone, if a trace is for several devices."""

    def look(arguments: Any) -> None:
        running = engine()
        if running is not None and are_spread(arguments):
            watch(running.call)

    return look if DONATED_CALLS_CRASH else None


def _places_in_annotations(root: Callable[..., Any], links: tuple[Link, ...], plan: Plan) -> bool:
    # What is about a mesh of its own is said to nobody else: `jax.jit` needs none for it.
    apart = any(isinstance(link, SaysSpecs) and link.has_mesh for link in links)
    outside = not apart and all(isinstance(link, Bind) or link.places_outside for link in links)
    return outside and Placement.of(root, plan).annotated
