"""The types that the transforms declare: what a decorated function is to a type checker.

Typing only: nothing here runs, and no object is ever an instance of these classes. Knows
JAX's types; knows nothing of plans, wrappers or values. What a transform returns at run time has the
attributes that are declared here, and more.

Two ideas carry it. A wrapper holds the *type of the function* (`Jitted[F]`, with `__call__: F`), so that
parameter names, defaults, type variables and overloads stay; and a gradient has the type of what is
differentiated (`D`), so that `params - lr * grads` type-checks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypedDict,
    overload,
)

from jax import Array, ShapeDtypeStruct
from jax.sharding import AbstractMesh, Mesh, PartitionSpec, Sharding
from jax.typing import ArrayLike
from typing_extensions import TypeVar, TypeVarTuple, dataclass_transform

if TYPE_CHECKING:
    from jax.extend.core import ClosedJaxpr  # at run time it would load all of Pallas

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
Ts = TypeVarTuple("Ts")
Aux = TypeVar("Aux")
Residuals = TypeVar("Residuals")
Value = TypeVar("Value", bound=ArrayLike)
# What is differentiated. Bound to Any and not unbounded, or pyright rejects unannotated lambdas.
D = TypeVar("D", bound=Any)
# One array that is differentiated. A variable and not `Array`: all overloads hold of an unannotated lambda,
# and mypy keeps a type only where their results are the same.
A = TypeVar("A", bound=Array)
F = TypeVar("F", bound=Callable[..., Any])
F_co = TypeVar("F_co", bound=Callable[..., Any], covariant=True)

Scalar: TypeAlias = ArrayLike
"""What a function must return to be differentiated: a real scalar, as an array or a Python number."""

Axes: TypeAlias = Any
"""A prefix pytree of `int`, `None` and callables `leaf -> int | None`; for `in_axes` also a `dict`."""


class DeviceLike(Protocol):
    """A `jax.Device`, of which pyright can't tell that it is a class."""

    @property
    def platform(self) -> str: ...
    @property
    def device_kind(self) -> str: ...


Place: TypeAlias = DeviceLike | Sharding | PartitionSpec
"""Where arrays can be put; a `PartitionSpec` is about the ambient mesh."""

InShardings: TypeAlias = Place | tuple[Any, ...] | list[Any] | Mapping[str, Any] | None
"""One place for all arguments, or prefix pytrees of places, by position or by the names of parameters."""

OutShardings: TypeAlias = Any
"""A prefix pytree of places."""

Donation: TypeAlias = Literal["all", "all-except-first", "warn", "warn-except-first", "none"]
"""Which arguments `filter_jit` donates, and whether JAX's warnings about unusable buffers are shown."""

PmapDonation: TypeAlias = Literal["all", "warn", "none"]
"""Which arguments `filter_pmap` donates, and whether JAX's warnings about unusable buffers are shown."""


VmapMethod: TypeAlias = Literal["sequential", "sequential_unrolled", "expand_dims", "broadcast_all"]
"""What `jax.vmap` does with the callback of `filter_pure_callback`."""

Check: TypeAlias = bool | Literal["warn"]
"""Whether a body is checked; with `"warn"` what does not fit is a warning, and the call goes on."""

AxisEnv: TypeAlias = Sequence[tuple[Hashable, int]] | None  # mapped axes around what is traced alone

Class = TypeVar("Class", bound=type)


@dataclass_transform(eq_default=False)
def attributes(*, init: Literal[False]) -> Callable[[Class], Class]:
    """For a class with `__call__: F`: what is annotated in it are attributes of its instances.

    pyright asks for it where it compares the class with a protocol, or else takes `__call__` for a method and
    its first parameter for `self`. It believes it of the fields of dataclasses only.
    """
    del init
    return lambda cls: cls


Fn: TypeAlias = Callable[Concatenate[D, P], R]
"""A function whose first parameter is `D`: what derivatives are about."""

NoAux: TypeAlias = Literal[False]
WithAux: TypeAlias = Literal[True]


# Overloads of filter_jit tell four kinds of callable apart. ---------------------------------------------


class _Opaque:
    """A type that nobody passes: only `Any`, `object` and free type variables accept it."""


class Gradual(Protocol[R_co]):
    """A callable whose parameters are not known (`Callable[..., R]`): only such a one takes this keyword."""

    def __call__(self, *, _typedfilter_gradual: _Opaque) -> R_co: ...


class Method(Protocol):
    """A function that is written as a method: its first parameter is named `self`."""

    def __call__(_self, self: Any, *args: Any, **kwargs: Any) -> Any: ...  # noqa: N805 (`self` is a parameter here)


class ClassMethod(Protocol):
    """A function that is written as a class method: its first parameter is named `cls`."""

    def __call__(_self, cls: Any, *args: Any, **kwargs: Any) -> Any: ...  # noqa: N805 (`cls` is a parameter here)


M = TypeVar("M", bound=Method)
C = TypeVar("C", bound=ClassMethod)
# What is no method, although it takes a `self`: what can be called with nothing (`*args`), and partials.
N = TypeVar("N", bound=Callable[[], Any] | partial[Any])


# filter_jit ---------------------------------------------------------------------------------------------


class JitKeywords(TypedDict, total=False):
    """The options of `filter_jit`."""

    donate: Donation
    check: Check
    inline: bool
    keep_unused: bool
    in_shardings: InShardings
    out_shardings: OutShardings
    compiler_options: Mapping[str, Any] | None
    device: DeviceLike | None
    backend: str | None


@attributes(init=False)
class Compiled(ABC, Generic[F_co]):
    """A compiled program; called with the original arguments, static ones included."""

    __call__: F_co

    @abstractmethod
    def as_text(self) -> str | None:
        """The compiled program as text."""

    @abstractmethod
    def cost_analysis(self) -> Any:
        """The compiler's estimate of the cost, by name."""

    @abstractmethod
    def memory_analysis(self) -> Any:
        """The compiler's account of the memory that the program needs."""


class Lowered(ABC, Generic[F_co]):
    """A program that is traced and lowered for one choice of static arguments and shapes."""

    @abstractmethod
    def compile(self) -> Compiled[F_co]:
        """Compile, once."""

    @abstractmethod
    def as_text(self) -> str:
        """The program as StableHLO text."""

    @abstractmethod
    def cost_analysis(self) -> Any:
        """An estimate of the cost before optimization, by name."""


@attributes(init=False)
class Jitted(ABC, Generic[F_co]):
    """What `filter_jit` makes of a function of type `F`: called as `F` is, with the same result."""

    __call__: F_co
    __wrapped__: F_co
    __name__: str
    __qualname__: str

    @overload
    def lower(self: Jitted[Callable[P, R]], *args: P.args, **kwargs: P.kwargs) -> Lowered[F_co]: ...
    @overload
    def lower(self, *args: Any, **kwargs: Any) -> Lowered[F_co]: ...
    @abstractmethod
    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """Trace and lower for these arguments; arrays may be `jax.ShapeDtypeStruct`."""

    @abstractmethod
    def trace(self, *args: Any, **kwargs: Any) -> Any:
        """Trace for these arguments; arrays may be `jax.ShapeDtypeStruct`."""

    @abstractmethod
    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The result with a `jax.ShapeDtypeStruct` for each array."""

    @abstractmethod
    def clear_cache(self) -> None:
        """Forget every compiled program of this function."""

    # As a class attribute a wrapper binds like a function. A first parameter that takes anything is left
    # alone: it is rather that of a static method, which checkers send through here as well.
    @overload
    def __get__(self: J, obj: object, owner: type | None = None, /) -> J: ...
    @overload
    def __get__(
        self: Jitted[Callable[Concatenate[S, Q], R]], obj: S, owner: type | None = None, /
    ) -> Jitted[Callable[Q, R]]: ...
    @overload
    def __get__(self: K, obj: object, owner: type | None = None, /) -> K: ...
    @abstractmethod
    def __get__(self, obj: Any, owner: Any = None, /) -> Any: ...


J = TypeVar("J", bound=Jitted[Callable[Concatenate[_Opaque, ...], Any]])
K = TypeVar("K", bound=Jitted[Any])


class JitDecorator(Protocol):
    """`filter_jit(...)` with options and without a function.

    What is written as a method (the first parameter is named `self` or `cls`) keeps its own type; anything
    else becomes `Jitted`.
    """

    @overload
    def __call__(self, fun: Gradual[R], /) -> Jitted[Callable[..., R]]: ...
    @overload
    def __call__(self, fun: N, /) -> Jitted[N]: ...  # type: ignore[overload-overlap]  # as in `filter_jit`
    @overload
    def __call__(self, fun: M, /) -> M: ...
    @overload
    def __call__(self, fun: C, /) -> C: ...
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]  # as in `filter_jit`
        self, fun: Callable[P, R], /
    ) -> Jitted[Callable[P, R]]: ...


class HolomorphicKeywords(TypedDict, total=False):
    """The options of `filter_jacfwd` and `filter_hessian` beside `has_aux`."""

    holomorphic: bool
    check: Check


class GradKeywords(HolomorphicKeywords, total=False):
    """The options of `filter_grad`, `filter_value_and_grad` and `filter_jacrev` beside `has_aux`."""

    allow_int: bool


# Derivatives --------------------------------------------------------------------------------------------


class GradDecorator(Protocol):
    """`filter_grad()`."""

    def __call__(self, fun: Fn[D, P, Scalar], /) -> Fn[D, P, D]: ...


class GradAuxDecorator(Protocol):
    """`filter_grad(has_aux=True)`."""

    def __call__(self, fun: Fn[D, P, tuple[Scalar, Aux]], /) -> Fn[D, P, tuple[D, Aux]]: ...


class ValueAndGradDecorator(Protocol):
    """`filter_value_and_grad()`."""

    def __call__(self, fun: Fn[D, P, Value], /) -> Fn[D, P, tuple[Value, D]]: ...


class ValueAndGradAuxDecorator(Protocol):
    """`filter_value_and_grad(has_aux=True)`."""

    def __call__(self, fun: Fn[D, P, tuple[Value, Aux]], /) -> Fn[D, P, tuple[tuple[Value, Aux], D]]: ...


class JacobianDecorator(Protocol):
    """`filter_jacfwd()`, `filter_jacrev()`.

    The Jacobian of one array has the structure of the argument, that with respect to one array the
    structure of the result; a tree of trees has no type.
    """

    @overload
    def __call__(self, fun: Fn[D, P, Array], /) -> Fn[D, P, D]: ...
    @overload
    def __call__(self, fun: Fn[A, P, R], /) -> Fn[A, P, R]: ...
    @overload
    def __call__(self, fun: Fn[D, P, Any], /) -> Fn[D, P, Any]: ...


class JacobianAuxDecorator(Protocol):
    """`filter_jacfwd(has_aux=True)`, `filter_jacrev(has_aux=True)`."""

    @overload
    def __call__(self, fun: Fn[D, P, tuple[Array, Aux]], /) -> Fn[D, P, tuple[D, Aux]]: ...
    @overload
    def __call__(self, fun: Fn[A, P, tuple[R, Aux]], /) -> Fn[A, P, tuple[R, Aux]]: ...
    @overload
    def __call__(self, fun: Fn[D, P, tuple[Any, Aux]], /) -> Fn[D, P, tuple[Any, Aux]]: ...


class HessianDecorator(Protocol):
    """`filter_hessian()`. With respect to one array it has the structure of the result."""

    @overload
    def __call__(self, fun: Fn[A, P, R], /) -> Fn[A, P, R]: ...
    @overload
    def __call__(self, fun: Fn[D, P, Any], /) -> Fn[D, P, Any]: ...


class HessianAuxDecorator(Protocol):
    """`filter_hessian(has_aux=True)`."""

    @overload
    def __call__(self, fun: Fn[A, P, tuple[R, Aux]], /) -> Fn[A, P, tuple[R, Aux]]: ...
    @overload
    def __call__(self, fun: Fn[D, P, tuple[Any, Aux]], /) -> Fn[D, P, tuple[Any, Aux]]: ...


@attributes(init=False)
class CustomJvpFunction(ABC, Generic[F_co]):
    """What `filter_custom_jvp` makes of a function of type `F`."""

    __call__: F_co
    __wrapped__: F_co

    @abstractmethod
    def def_jvp(
        self: CustomJvpFunction[Callable[..., R]], rule: Callable[Q, tuple[R, R | None]], /
    ) -> Callable[Q, tuple[R, R | None]]:
        """Set the rule: `rule(primals, tangents, **kwargs) -> (primal_out, tangent_out)`."""

    # As in `Jitted`.
    @overload
    def __get__(
        self: CustomJvpFunction[Callable[Concatenate[_Opaque, ...], R]],
        obj: object,
        owner: type | None = None,
        /,
    ) -> CustomJvpFunction[F_co]: ...
    @overload
    def __get__(
        self: CustomJvpFunction[Callable[Concatenate[S, Q], R]], obj: S, owner: type | None = None, /
    ) -> Callable[Q, R]: ...
    @overload
    def __get__(self, obj: object, owner: type | None = None, /) -> CustomJvpFunction[F_co]: ...
    @abstractmethod
    def __get__(self, obj: Any, owner: Any = None, /) -> Any: ...


class CustomJvpDecorator(Protocol):
    """`filter_custom_jvp(...)` without a function."""

    def __call__(self, fn: Callable[P, R], /) -> CustomJvpFunction[Callable[P, R]]: ...


class CustomVjpFunction(ABC, Generic[T, P, R]):
    """What `filter_custom_vjp` makes of `fun(diff, *args, **kwargs)`."""

    __wrapped__: Callable[Concatenate[T, P], R]

    @abstractmethod
    def __call__(self, diff: T, /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @abstractmethod
    def def_fwd(
        self, rule: Callable[Concatenate[Any, T, P], tuple[R, Residuals]], /
    ) -> Callable[Concatenate[Any, T, P], tuple[R, Residuals]]:
        """Set the forward rule: `rule(perturbed, diff, ...) -> (out, residuals)`."""

    @abstractmethod
    def def_bwd(
        self, rule: Callable[Concatenate[Residuals, R, Any, T, P], T | None], /
    ) -> Callable[Concatenate[Residuals, R, Any, T, P], T | None]:
        """Set the backward rule: `rule(residuals, grad_out, perturbed, diff, ...) -> grad_diff`."""

    # As in `Jitted`.
    @overload
    def __get__(
        self: CustomVjpFunction[_Opaque, P, R], obj: object, owner: type | None = None, /
    ) -> CustomVjpFunction[T, P, R]: ...
    @overload
    def __get__(self, obj: T, owner: type | None = None, /) -> Callable[P, R]: ...
    @overload
    def __get__(self, obj: object, owner: type | None = None, /) -> CustomVjpFunction[T, P, R]: ...
    @abstractmethod
    def __get__(self, obj: Any, owner: Any = None, /) -> Any: ...


class CustomVjpDecorator(Protocol):
    """`filter_custom_vjp(...)` without a function."""

    def __call__(self, fn: Callable[Concatenate[T, P], R], /) -> CustomVjpFunction[T, P, R]: ...


# Mapping, checkpoints, closures, jaxprs -----------------------------------------------------------------


class MapKeywords(TypedDict, total=False):
    """What `filter_vmap` and `filter_pmap` have in common."""

    in_axes: Axes
    out_axes: Axes
    axis_name: Hashable
    axis_size: int | None
    check: Check


class VmapKeywords(MapKeywords, total=False):
    """The options of `filter_vmap`."""

    spmd_axis_name: Hashable


class PmapKeywords(MapKeywords, total=False):
    """The options of `filter_pmap`."""

    donate: PmapDonation
    devices: Sequence[DeviceLike] | None
    backend: str | None


class ShardMapKeywords(TypedDict, total=False):
    """The options of `filter_shard_map`."""

    mesh: Mesh | AbstractMesh | None
    in_specs: Any
    out_specs: Any
    axis_names: AbstractSet[str]
    check_vma: bool
    check: bool


class CheckpointKeywords(TypedDict, total=False):
    """The options of `filter_checkpoint`."""

    prevent_cse: bool
    policy: Callable[..., bool] | None
    check: Check


class SameDecorator(Protocol):
    """A transform that keeps parameters and result: `filter_vmap(...)`, `filter_checkpoint(...)`."""

    def __call__(self, fun: Callable[P, R], /) -> Callable[P, R]: ...


class Converted(Protocol[P, R_co]):
    """A function with what it closed over as data."""

    @property
    def consts(self) -> list[Any]:
        """The arrays that the function closed over."""
        ...

    @property
    def in_struct(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The example arguments, with a `jax.ShapeDtypeStruct` for each array."""
        ...

    @property
    def out_struct(self) -> Any:
        """The result, with a `jax.ShapeDtypeStruct` for each array."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class JaxprMaker(Protocol[P, R_co]):
    """`filter_make_jaxpr(fun)`; the second overload lets a `jax.ShapeDtypeStruct` stand for an array."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> tuple[ClosedJaxpr, R_co, Any]: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> tuple[ClosedJaxpr, R_co, Any]: ...


class MakeJaxprDecorator(Protocol):
    """`filter_make_jaxpr(...)` without a function."""

    @overload
    def __call__(self, fun: Callable[P, Array], /) -> JaxprMaker[P, ShapeDtypeStruct]: ...
    @overload
    def __call__(self, fun: Callable[P, Any], /) -> JaxprMaker[P, Any]: ...
