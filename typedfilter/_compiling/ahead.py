"""A call that is prepared, not run, and the calls of the program that is compiled for it.

Static arguments, and what stands around arrays, are fixed when a program is compiled: each call is compared
with that. An engine is handed in; of wrappers, nothing is known here.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import jax

from typedfilter._compiling.entry import Programs, watch_deleted
from typedfilter._compiling.guards import ByPosition
from typedfilter._compiling.modes import STATIC_MODES, Mode, Pattern
from typedfilter._compiling.packing import Packed, getter, unpack
from typedfilter._compiling.tokens import Kept, Token
from typedfilter._compiling.traced import opened
from typedfilter._values.keys import exact_key, static_problem
from typedfilter._values.leaves import is_array_or_struct
from typedfilter.errors import StaticArgumentError

__all__ = ["Ahead"]


@dataclasses.dataclass(frozen=True)
class Ahead:
    """A call that is prepared, not run: what `jax.jit`'s own methods take."""

    engine: Any  # an `Engine`, which stands a floor above
    bound: tuple[tuple[Any, ...], dict[str, Any]]
    jit: Any
    pattern: Pattern
    args: list[Any]
    kwargs: dict[str, Any]
    kept: Kept
    contents: tuple[Any, ...]  # of its tokens: they are known again after the engine has forgotten them

    @classmethod
    def of(
        cls,
        engine: Any,
        bound: tuple[tuple[Any, ...], dict[str, Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Ahead:
        """For these arguments, behind those that are bound."""
        bound_args, bound_kwargs = bound
        pattern, positional, keyword = engine.prepare((*bound_args, *args), bound_kwargs | kwargs)
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

    def dynamic(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, whole: bool = False
    ) -> tuple[list[Any], dict[str, Any]]:
        """The traced arguments of another call, whose static ones must be those of this one.

        Args:
            args: those by position,
            kwargs: and those by name.
            whole: what is bound is among them.

        Raises:
            StaticArgumentError: a static value, or the structure around arrays, is another one.
        """
        bound_args, bound_kwargs = ((), {}) if whole else self.bound
        pattern, positional, keyword = self.engine.prepare((*bound_args, *args), bound_kwargs | kwargs)
        before = self._named(self.pattern, self.args, self.kwargs)
        now = self._named(pattern, positional, keyword)
        for name in [name for name in before if name in now]:  # what is missing or too much, JAX reports
            if not _same_static(before[name], now[name]):
                raise self._differs(name, *_static_texts(before[name], now[name]))
        return self._moving(positional, keyword)

    def _moving(
        self, positional: Sequence[Any], keyword: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Of the arguments of a call those that are not static, as the compiled program takes them."""
        static_at = self.pattern.at(*STATIC_MODES)
        static_names = self.pattern.named(*STATIC_MODES)
        moving = [value for i, value in enumerate(positional) if i not in static_at]
        named = {name: value for name, value in keyword.items() if name not in static_names}
        if isinstance(self.jit, ByPosition):
            return [*moving, *(named[name] for name in self.jit.names if name in named)], {}
        return moving, named

    def compiled(self, stage: Any) -> Callable[..., Any]:
        """What a call of the compiled program enters: it looks at static arguments only."""
        engine = self.engine

        def first(key: Any, /, *args: Any, **kwargs: Any) -> Any:
            positional, keyword = self.dynamic(args, kwargs, whole=True)
            table[key] = self._program(stage)
            return stage(*positional, **keyword)

        def explain(error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            better = engine.better_error(error, args, kwargs)
            if better is not None:
                raise better from None

        table = Programs(first)
        call: Callable[..., Any] = engine.shim(table, explain)
        watch_deleted(call)
        return call

    def _program(self, stage: Any) -> Callable[..., Any]:
        """A call of the program with arguments of the same classes as before."""
        if set(self.pattern.modes) <= {Mode.TRACED} and not isinstance(self.jit, ByPosition):
            program: Callable[..., Any] = stage
            return program
        engine = self.engine
        fixed = [(i, v) for i, v in enumerate(self.args) if self.pattern.positional[i] is Mode.STATIC]
        positional, keyword = engine.converters(self.pattern)
        tokens = [(i, convert, _token(self.args[i])) for i, convert in positional]
        named = [(name, convert, _token(self.kwargs[name])) for name, convert in keyword]
        raw = [(name, self.kwargs[name]) for name, mode in self.pattern.keyword if mode is Mode.STATIC]

        if not (tokens or named or raw or self.pattern.keyword or isinstance(self.jit, ByPosition)):
            return self._static_only(stage, fixed)

        def call(*args: Any, **kwargs: Any) -> Any:
            same = len(args) == len(self.args) and len(kwargs) == len(self.kwargs)
            converted, by_name = list(args), dict(kwargs)
            same = same and all(_is_same(args[i], value) for i, value in fixed)
            same = same and all(_is_same(kwargs.get(name), value) for name, value in raw)
            if same:
                for i, convert, token in tokens:
                    converted[i] = convert(args[i])
                    same = same and _token(converted[i]) is token
                for name, convert, token in named:
                    by_name[name] = convert(kwargs[name]) if name in kwargs else None
                    same = same and _token(by_name[name]) is token
            moving, rest = (
                self._moving(converted, by_name) if same else self.dynamic(args, kwargs, whole=True)
            )
            return stage(*moving, **rest)

        return call

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

    def _static_only(self, stage: Any, fixed: list[tuple[int, Any]]) -> Callable[..., Any]:
        """A call by position in which static arguments are left out, and nothing is converted."""
        count = len(self.args)
        at, values = [i for i, _ in fixed], [value for _, value in fixed]
        moving = getter([i for i in range(count) if i not in at])

        def call(*args: Any) -> Any:
            if len(args) == count and all(map(_is_same, map(args.__getitem__, at), values)):
                return stage(*moving(args))
            positional, keyword = self.dynamic(args, {}, whole=True)
            return stage(*positional, **keyword)

        return call


def _same_static(old: tuple[Mode, Any], new: tuple[Mode, Any]) -> bool:
    (old_mode, old_value), (new_mode, new_value) = old, new
    if old_mode is not new_mode:
        return old_mode not in (*STATIC_MODES, Mode.PACKED) and new_mode not in (*STATIC_MODES, Mode.PACKED)
    if old_mode is Mode.PACKED:
        return old_value.token is new_value.token
    if old_mode is Mode.STATIC:
        return type(old_value) is type(new_value) and bool(old_value == new_value)
    return old_mode is Mode.TRACED or old_value is new_value


def _is_same(given: Any, value: Any) -> bool:
    return given is value or (type(given) is type(value) and bool(given == value))


def _token(value: Any) -> Any:
    """The token of what travels as one, or with one."""
    return value.token if type(value) is Packed else value


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
