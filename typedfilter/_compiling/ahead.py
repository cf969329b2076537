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

from typedfilter._compat import concrete_mesh
from typedfilter._compiling import failed
from typedfilter._compiling.again import quick_call
from typedfilter._compiling.entry import watch
from typedfilter._compiling.guards import ByPosition
from typedfilter._compiling.modes import STATIC_MODES, Mode, Pattern, Place
from typedfilter._compiling.packing import Packed, unpack
from typedfilter._compiling.tokens import Kept, Token
from typedfilter._compiling.traced import opened
from typedfilter._placing.meshes import under
from typedfilter._placing.moving import is_staging
from typedfilter._values.keys import exact_key, static_problem
from typedfilter._values.leaves import is_array_or_struct
from typedfilter._values.text import brief
from typedfilter._values.trees import own_classes
from typedfilter._wrapping.frames import raise_as_it_is
from typedfilter.errors import StaticArgumentError


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
    mesh: Any  # that was set: the places of the program are about it, wherever that is called

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
        donate = engine.may_donate((*bound_args, *args), bound_kwargs | kwargs)
        jit, mesh = engine.jit(pattern, donate=donate), engine.options.mesh or concrete_mesh()
        return cls(engine, bound, jit, pattern, positional, keyword, engine.kept, contents, mesh)

    @property
    def classes(self) -> frozenset[type]:
        """Of the models that are packed: all classes but those of plain containers."""
        packed = [value for value in (*self.args, *self.kwargs.values()) if type(value) is Packed]
        return frozenset({cls for value in packed for cls in own_classes(value.rest().treedef)})

    @property
    def opened(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as they were given, what is bound among them."""
        return tuple(map(opened, self.args)), {name: opened(value) for name, value in self.kwargs.items()}

    @contextlib.contextmanager
    def explained(self) -> Generator[None]:
        """With our errors about arguments, and without JAX's warning about donated buffers if so wanted."""
        quietly = self.engine.caution.quietly() if self.engine.options.quiet else contextlib.nullcontext()
        with quietly, under(self.engine.options.mesh, self.engine.plan):
            try:
                yield
            except Exception as error:  # under the mesh: without it, that would be what is wrong
                failed.explain(self.engine, error, *self.opened)
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

    def _other(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StaticArgumentError | None:
        """What is wrong with the static arguments of a call, if that is what JAX has refused."""
        try:
            self.dynamic(args, kwargs, whole=True)
        except StaticArgumentError as error:
            return error
        return None

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
        positional, keyword = engine.converters(self.pattern)
        converters = {**dict(positional), **dict(keyword)}
        program = engine.guarded(self._program(stage, converters))
        names = self.jit.names if isinstance(self.jit, ByPosition) else None
        before = _by_place(self.args, self.kwargs)
        signature, by_type = engine.entered
        known = quick_call(signature, by_type, self.pattern.by_place, converters, before, names)
        if jax.process_count() > 1:  # each call is looked at
            known = None

        def first(key: Any, /, *args: Any, **kwargs: Any) -> Any:
            positional, keyword = self.dynamic(args, kwargs, whole=True)
            if known is not None:
                known.learn(call, args, kwargs)
            table[key] = program
            return engine.guarded(lambda *_, **__: stage(*positional, **keyword))(*args, **kwargs)

        def explain(error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            better: BaseException | None = self._other(args, kwargs)
            if better is None and not is_staging():  # else JAX says that a tracer can't be taken
                with under(self.mesh, engine.plan):
                    better = failed.better_error(engine, error, args, kwargs)
            if better is not None:
                raise_as_it_is(better)

        table: dict[Any, Callable[..., Any]] = {}
        call: Callable[..., Any] = engine.shim(
            table, first, explain, None if known is None else known.quick, stage.__call__
        )
        if _is_spread(stage):
            watch(call)
        return call

    def _program(self, stage: Any, converters: Mapping[Place, Callable[[Any], Any]]) -> Callable[..., Any]:
        """A call of the program with arguments of the same classes as in a call before."""
        if set(self.pattern.modes) <= {Mode.TRACED} and not isinstance(self.jit, ByPosition):
            program: Callable[..., Any] = stage
            return program
        before = _by_place(self.args, self.kwargs)
        raw = [place for place, mode in self.pattern.by_place.items() if mode is Mode.STATIC]

        def call(*args: Any, **kwargs: Any) -> Any:
            given = _by_place(args, kwargs)
            same = given.keys() == before.keys() and all(_is_same(given[at], before[at]) for at in raw)
            if same:
                given |= {at: convert(given[at]) for at, convert in converters.items()}
                same = all(_token(given[at]) is _token(before[at]) for at in converters)
            if not same:
                moving, rest = self.dynamic(args, kwargs, whole=True)
            else:
                moving, rest = self._moving(
                    [given[i] for i in range(len(args))], {name: given[name] for name in kwargs}
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


def _is_spread(stage: Any) -> bool:
    """Whether a compiled program runs on several devices."""
    shardings = jax.tree_util.tree_leaves(stage.input_shardings)
    return any(len(sharding.device_set) > 1 for sharding in shardings)


def _same_static(old: tuple[Mode, Any], new: tuple[Mode, Any]) -> bool:
    (old_mode, old_value), (new_mode, new_value) = old, new
    if old_mode is not new_mode:
        return old_mode not in (*STATIC_MODES, Mode.PACKED) and new_mode not in (*STATIC_MODES, Mode.PACKED)
    if old_mode is Mode.PACKED:
        return old_value.token is new_value.token
    if old_mode is Mode.STATIC:
        return type(old_value) is type(new_value) and bool(old_value == new_value)
    return old_mode is Mode.TRACED or old_value is new_value


def _by_place(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[Place, Any]:
    """Arguments by their position, or by their name."""
    by_place: dict[Place, Any] = dict(enumerate(args))
    return by_place | dict(kwargs)


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
            arrays = is_array_or_struct(old_leaf), is_array_or_struct(new_leaf)
            if arrays[0] != arrays[1] or (not arrays[0] and _is_other(old_leaf, new_leaf)):
                return new_path, _said(old_leaf), _said(new_leaf)
        return "", str(old_value.rest().treedef), str(new_value.rest().treedef)
    return "", repr(unpack(old_value)), repr(unpack(new_value))


def _said(leaf: Any) -> str:
    return brief(leaf) if is_array_or_struct(leaf) else repr(leaf)


def _is_other(old: Any, new: Any) -> bool:
    return static_problem(new) is None and exact_key(old) != exact_key(new)


def _paths(packed: Packed) -> list[tuple[str, Any]]:
    flat = jax.tree_util.tree_flatten_with_path(unpack(packed))[0]
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in flat]
