"""The types that the transforms declare: what a decorated function is to a type checker.

Read by type checkers alone: at run time these names stand for nothing (`_declarations.py`). Knows JAX's
types; knows nothing of plans, wrappers or values. What a transform returns at run time has the attributes
that are declared here, and more.

Two ideas carry it. A wrapper holds the *type of the function* (`Jitted[F]`, with `__call__: F`), so that
parameter names, defaults, type variables and overloads stay; and a gradient has the type of what is
differentiated (`D`), so that `params - lr * grads` type-checks.

Where checkers read one declaration in different ways, each is led to the one that it understands:

    if _t.TYPE_CHECKING and 1:  # pyright and pyrefly go by the name, and read this branch alone
        if not MYPY: ...        # mypy can't decide `and 1`: it goes on, and takes MYPY for true
    elif MYPY: ...              # mypy and zuban
    else: ...                   # ty, which reads `Literal[False]` in both

Within the first branch, `if 1 < 2: ... else: ...` is for pyrefly and for pyright: what pyright can't decide,
it reads whole, and takes the last declaration.
"""

import typing as _t  # pyright: ignore[reportAssignmentType]  # declared below as what it is not
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Concatenate, Generic, Literal, Protocol, TypeAlias, TypedDict, overload

import numpy as np
from jax import Array, ShapeDtypeStruct
from jax.extend.core import ClosedJaxpr
from jax.sharding import AbstractMesh, Mesh, PartitionSpec, Sharding
from jax.typing import ArrayLike
from typing_extensions import ParamSpec, TypeAliasType, TypeVar, TypeVarTuple, dataclass_transform

MYPY: Literal[False]

class _No:
    @property
    def TYPE_CHECKING(self) -> Literal[False]: ...  # noqa: N802 (the name is the point)

_t: _No  # type: ignore[no-redef]

P = ParamSpec("P")
Q = ParamSpec("Q")
P2 = ParamSpec("P2")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
R_contra = TypeVar("R_contra", contravariant=True)
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
V = TypeVar("V")
Ts = TypeVarTuple("Ts")
Aux = TypeVar("Aux")
# What is differentiated. Bound to Any and not unbounded, or pyright rejects unannotated lambdas.
D = TypeVar("D", bound=Any)
# One array that is differentiated. To mypy a variable: all overloads hold of an unannotated lambda, and it
# keeps a type only where their results are the same. Of a variable ty and pyrefly forget the bound.
if _t.TYPE_CHECKING and 1:
    if not MYPY:
        A: TypeAlias = Array
elif MYPY:
    A = TypeVar("A", bound=Array)
else:
    A: TypeAlias = Array
F = TypeVar("F", bound=Callable[..., Any])
F_co = TypeVar("F_co", bound=Callable[..., Any], covariant=True)

class Opaque:
    """A type that nobody passes: only `Any`, `object` and free type variables accept it."""

class OpaqueToo:
    """The same again: a bound that does not meet that of another variable."""

class OpaqueFunction(Opaque):
    """A function that nobody passes."""

    def __call__(self, opaque: Opaque, /) -> Opaque: ...

class _Float(Protocol):
    """A Python float, which an `int` passes for: this method it has not."""

    def hex(self) -> str: ...

if _t.TYPE_CHECKING and 1:
    if not MYPY:
        Scalar: TypeAlias = Array | np.ndarray | np.floating[Any] | _Float | Literal[0]
elif MYPY:
    Scalar: TypeAlias = Array | np.ndarray | np.floating[Any] | _Float | Literal[0]
else:
    Scalar: TypeAlias = ArrayLike  # to ty, `float` is a union with `int` in it
"""What a function must return to be differentiated: a real scalar, as an array or a Python float.

The literal is for `sum(...)`, which starts at 0.
"""

Value = TypeVar("Value", bound=Scalar)

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

AxisEnv: TypeAlias = Sequence[tuple[Hashable, int]] | None
"""The names and sizes of mapped axes around a function that is traced on its own."""

Class = TypeVar("Class", bound=type)

@dataclass_transform(eq_default=False)
def attributes(*, init: Literal[False]) -> Callable[[Class], Class]:
    """For a class with `__call__: F`: what is annotated in it are attributes of its instances.

    pyright asks for it where it compares the class with a protocol, or else takes `__call__` for a method and
    its first parameter for `self`. It believes it of the fields of dataclasses only.
    """

class Nobody(Protocol):
    """What no function is."""

    def nobody(self) -> None: ...

if _t.TYPE_CHECKING and 1:
    if not MYPY:
        if 1 < 2:
            class NotForPyrefly(Nobody, Protocol): ...  # pyright: ignore[reportRedeclaration]  # see above

        else:
            class NotForPyrefly(Protocol): ...

elif MYPY:
    class NotForPyrefly(Protocol): ...

else:
    class NotForPyrefly(Protocol): ...

D_contra = TypeVar("D_contra", contravariant=True, bound=Any)

class Named(Protocol[D_contra, P, Q, R_co]):  # pyright: ignore[reportInvalidTypeVarUse]  # it looks at the first overload only
    """A function with the parameters `P`, of which the first is a `D` and the others are `Q`.

    `Concatenate[D, Q]` says so without the name of the first parameter.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, first: D_contra, /, *args: Q.args, **kwargs: Q.kwargs) -> R_co: ...

class First(NotForPyrefly, Protocol[D_contra, Q, R_co]):
    """A function with the parameters `D` and `Q`, the first without its name.

    Where a function is the result of a call, as in `filter_grad(decorated(f))`, pyright asks that call for
    what fits, and finds nothing that fits the two overloads of `Named`. To pyrefly `Named` is enough.
    """

    def __call__(self, first: D_contra, /, *args: Q.args, **kwargs: Q.kwargs) -> R_co: ...

if _t.TYPE_CHECKING and 1:
    if not MYPY:
        Fn: TypeAlias = Named[D, P, Q, R] | First[D, Q, R]
        Derived = TypeAliasType("Derived", Callable[P, R], type_params=(D, P, Q, R))
elif MYPY:  # whose inference for lambdas finds nothing in overloads
    Fn = TypeAliasType("Fn", Callable[Concatenate[D, Q], R], type_params=(D, P, Q, R))
    Derived = TypeAliasType("Derived", Callable[Concatenate[D, Q], R], type_params=(D, P, Q, R))
else:
    Fn: TypeAlias = Named[D, P, Q, R]
    Derived = TypeAliasType("Derived", Callable[P, R], type_params=(D, P, Q, R))
"""`Fn[D, P, Q, R]`: what derivatives are about. `Derived[D, P, Q, X]`: the same, returning an `X`."""

T_contra = TypeVar("T_contra", contravariant=True)

# Functions with `**kwargs`, which take a keyword of any name. mypy --strict refuses them for
# `Concatenate[D, Q]`, since the first argument might be given by name and again among the others. No
# protocols: mypy's answer about a function and a protocol hangs on what it was asked before.

if _t.TYPE_CHECKING and 1:
    if not MYPY:
        Open1 = TypeAliasType("Open1", tuple[Opaque], type_params=(T, R))
        Open2 = TypeAliasType("Open2", tuple[Opaque, Opaque], type_params=(T, R))
elif MYPY:
    from mypy_extensions import KwArg, NamedArg, VarArg

    Open1: TypeAlias = Callable[[T, NamedArg(Any, "_typedfilter_any")], R]
    Open2: TypeAlias = Callable[[T, Any, NamedArg(Any, "_typedfilter_any")], R]
else:
    Open1 = TypeAliasType("Open1", tuple[Opaque], type_params=(T, R))
    Open2 = TypeAliasType("Open2", tuple[Opaque, Opaque], type_params=(T, R))
"""`OpenN[T, R]`: a function with `**kwargs` that can be called with N arguments, the first of them a `T`."""

class _Open(Protocol[T_contra, P, R_co]):  # pyright: ignore[reportInvalidTypeVarUse]  # it looks at the first overload only
    @overload
    def __call__(self, first: T_contra, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: Any, _typedfilter_any: Any, **kwargs: Any) -> R_co: ...

if _t.TYPE_CHECKING and 1:
    if not MYPY:
        Open: TypeAlias = _Open[T, P, R]
elif MYPY:
    Open = TypeAliasType("Open", Opaque, type_params=(T, P, R))  # never: there it is Open1 and Open2
else:
    Open: TypeAlias = _Open[T, P, R]
"""`Open[T, P, R]`: a function with `**kwargs` and the parameters `T` and `P`."""

# To mypy alone these are functions with `**kwargs` and nothing else: of two overloads that hold it takes
# neither where an argument has an `Any` in it, as the type of a function with a parameter `PyTree`.

if _t.TYPE_CHECKING and 1:
    if not MYPY:
        Loose: TypeAlias = Callable[Concatenate[T, ...], R]
elif MYPY:
    # The order is not Python's, but ends with what mypy takes for "and anything".
    Loose: TypeAlias = (
        Open1[T, R] | Callable[[T, NamedArg(Any, "_typedfilter_any"), VarArg(Any), KwArg(Any)], R]  # type: ignore[misc]
    )
else:
    Loose: TypeAlias = Callable[Concatenate[T, ...], R]
"""A function of which only the first parameter is looked at.

The last overload of what is about a first parameter, for mypy --strict: it refuses functions with `**kwargs`
for `Concatenate[D, Q]`, since the first argument might be given by name and again among the others.
"""

AnyOpen: TypeAlias = Loose[Any, Any]
"""A function with a first parameter."""

class Loosened(ABC, Generic[T, R]):
    """The derivative of a `Loose[T, ...]`, that returns an `R`.

    Not a `Callable`: of a function that is `Any` mypy can't tell which overload holds, and takes what is
    common to their results. Of two callables that is an untyped function, and --strict reports the call.
    """

    @abstractmethod
    def __call__(self, first: T, /, *args: Any, **kwargs: Any) -> R: ...
    @overload
    def __get__(self, obj: None, owner: type, /) -> Loosened[T, R]: ...
    @overload
    def __get__(self, obj: T, owner: type | None = None, /) -> Callable[..., R]: ...

class PairIfHasAux(Opaque):
    """What nothing is. Checkers print the name where a function and `has_aux=` contradict each other."""

Unsaid: TypeAlias = Callable[..., PairIfHasAux]
"""A function that doesn't say what it returns: only such a one may have `has_aux=` a variable."""

NoAux: TypeAlias = Literal[False]
WithAux: TypeAlias = Literal[True]

# Overloads of filter_jit tell four kinds of callable apart. ---------------------------------------------

class Gradual(NotForPyrefly, Protocol[R_co]):
    """A callable whose parameters are not known (`Callable[..., R]`): only such a one takes this keyword.

    To pyrefly generic functions take it as well; it reads `Callable[..., R]` without this.
    """

    def __call__(self, *, _typedfilter_gradual: Opaque) -> R_co: ...

class SelfFirst(Protocol[P]):
    """A function whose first parameter is named `self`."""

    def __call__(_self, self: Any, *args: P.args, **kwargs: P.kwargs) -> Any: ...  # noqa: N805 (`self` is a parameter here)

class ClsFirst(Protocol[P]):
    """A function whose first parameter is named `cls`."""

    def __call__(_self, cls: Any, *args: P.args, **kwargs: P.kwargs) -> Any: ...  # noqa: N805 (`cls` is a parameter here)

# To pyrefly a function with any first parameter takes `self: Any` and then `*args: Any, **kwargs: Any`; zuban
# finds no function in a protocol with a ParamSpec.

if MYPY:
    class Method(Protocol):
        """A function that is written as a method: its first parameter is named `self`."""

        def __call__(_self, self: Any, *args: Any, **kwargs: Any) -> Any: ...  # noqa: N805 (`self` is a parameter here)

    class ClassMethod(Protocol):
        """A function that is written as a class method: its first parameter is named `cls`."""

        def __call__(_self, cls: Any, *args: Any, **kwargs: Any) -> Any: ...  # noqa: N805 (`cls` is a parameter here)

else:
    class Method(SelfFirst[...], Protocol):
        """A function that is written as a method: its first parameter is named `self`."""

    class ClassMethod(ClsFirst[...], Protocol):
        """A function that is written as a class method: its first parameter is named `cls`."""

M = TypeVar("M", bound=Method)
C = TypeVar("C", bound=ClassMethod)
# What is no method, although it takes a `self`: what can be called with nothing (`*args`), and partials.
N = TypeVar("N", bound=Callable[[], Any] | partial[Any])

# Any other function, with its overloads. Not for pyright, which finds nothing in another call that is this.

if _t.TYPE_CHECKING and 1:
    if not MYPY:
        Whole = TypeVar("Whole", bound=OpaqueFunction)
elif MYPY:
    Whole = TypeVar("Whole", bound=Callable[..., Any])
else:
    Whole = TypeVar("Whole", bound=Callable[..., Any])

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
    max_traces: int | None
    mesh: Mesh | None

@attributes(init=False)
class Compiled(ABC, Generic[F_co]):
    """A compiled program; called with the original arguments, static ones included."""

    if _t.TYPE_CHECKING and 1:
        __call__: F_co
    else:
        @property
        def __call__(self) -> F_co: ...

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

class Stages(ABC, Generic[F_co]):
    """What a jitted function has beside its call."""

    @property
    def __wrapped__(self) -> F_co: ...

    __name__: str
    __qualname__: str

    @overload
    def lower(self: Jitted[Callable[P, R]], *args: P.args, **kwargs: P.kwargs) -> Lowered[F_co]: ...
    @overload
    def lower(self, *args: Any, **kwargs: Any) -> Lowered[F_co]:
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

# To mypy a protocol of nothing but `__call__`, although what it inherits is none: the common type of such a
# class and a function is that of the function, as in a list of both. Only of a class with a ParamSpec it
# believes that there are generic functions in it.

if _t.TYPE_CHECKING and 1:
    if not MYPY:
        @attributes(init=False)
        class Jitted(Stages[F_co]):
            """What `filter_jit` makes of a function of type `F`: called as `F` is, with the same result."""

            __call__: F_co
            __wrapped__: F_co  # pyright: ignore[reportIncompatibleMethodOverride]  # a property to others

elif MYPY:
    Unused = ParamSpec("Unused", default=[])
    class Jitted(Stages[F_co], Protocol[F_co, Unused]):  # type: ignore[misc]  # see above
        __call__: F_co  # no property: zuban would not take it for the method of another protocol

else:
    class Jitted(Stages[F_co]):
        """What `filter_jit` makes of a function of type `F`: called as `F` is, with the same result."""

        @property
        def __call__(self) -> F_co: ...
        @property
        def __wrapped__(self) -> F_co: ...

J = TypeVar("J", bound=Jitted[Callable[Concatenate[Opaque, ...], Any]])
K = TypeVar("K", bound=Jitted[Any])

class JitDecorator(Protocol):
    """`filter_jit(...)` with options and without a function.

    What is written as a method (the first parameter is named `self` or `cls`) keeps its own type; anything
    else becomes `Jitted`.
    """

    @overload
    def __call__(self, fun: Gradual[R], /) -> Jitted[Callable[..., R]]: ...
    @overload
    def __call__(self, fun: N, /) -> Jitted[N]: ...
    @overload
    def __call__(self, fun: M, /) -> M: ...
    @overload
    def __call__(self, fun: C, /) -> C: ...
    @overload
    def __call__(self, fun: Whole, /) -> Jitted[Whole]: ...
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

class AnyDecorator(Protocol):
    """A derivative with `has_aux=` a variable: nothing is known of its result."""

    def __call__(self, fun: Callable[..., Any], /) -> Callable[..., Any]: ...

class GradDecorator(Protocol):
    """`filter_grad()`."""

    @overload
    def __call__(self, fun: Fn[D, P, Q, Scalar], /) -> Derived[D, P, Q, D]: ...
    @overload
    def __call__(self, fun: Loose[T, Scalar], /) -> Loosened[T, T]: ...

class GradAuxDecorator(Protocol):
    """`filter_grad(has_aux=True)`."""

    @overload
    def __call__(self, fun: Fn[D, P, Q, tuple[Scalar, Aux]], /) -> Derived[D, P, Q, tuple[D, Aux]]: ...
    @overload
    def __call__(self, fun: Loose[T, tuple[Scalar, Aux]], /) -> Loosened[T, tuple[T, Aux]]: ...

class ValueAndGradDecorator(Protocol):
    """`filter_value_and_grad()`."""

    @overload
    def __call__(self, fun: Fn[D, P, Q, Value], /) -> Derived[D, P, Q, tuple[Value, D]]: ...
    @overload
    def __call__(self, fun: Loose[T, Value], /) -> Loosened[T, tuple[Value, T]]: ...

class ValueAndGradAuxDecorator(Protocol):
    """`filter_value_and_grad(has_aux=True)`."""

    @overload
    def __call__(
        self, fun: Fn[D, P, Q, tuple[Value, Aux]], /
    ) -> Derived[D, P, Q, tuple[tuple[Value, Aux], D]]: ...
    @overload
    def __call__(self, fun: Loose[T, tuple[Value, Aux]], /) -> Loosened[T, tuple[tuple[Value, Aux], T]]: ...

class JacobianDecorator(Protocol):
    """`filter_jacfwd()`, `filter_jacrev()`.

    The Jacobian of one array has the structure of the argument, that with respect to one array the
    structure of the result; a tree of trees has no type.
    """

    @overload
    def __call__(self, fun: Fn[D, P, Q, Array], /) -> Derived[D, P, Q, D]: ...
    @overload
    def __call__(self, fun: Fn[A, P, Q, R], /) -> Derived[A, P, Q, R]: ...
    @overload
    def __call__(self, fun: Fn[D, P, Q, Any], /) -> Derived[D, P, Q, Any]: ...
    @overload
    def __call__(self, fun: Loose[Any, Any], /) -> Any: ...

class JacobianAuxDecorator(Protocol):
    """`filter_jacfwd(has_aux=True)`, `filter_jacrev(has_aux=True)`."""

    @overload
    def __call__(self, fun: Fn[D, P, Q, tuple[Array, Aux]], /) -> Derived[D, P, Q, tuple[D, Aux]]: ...
    @overload
    def __call__(self, fun: Fn[A, P, Q, tuple[R, Aux]], /) -> Derived[A, P, Q, tuple[R, Aux]]: ...
    @overload
    def __call__(self, fun: Fn[D, P, Q, tuple[Any, Aux]], /) -> Derived[D, P, Q, tuple[Any, Aux]]: ...

class HessianDecorator(Protocol):
    """`filter_hessian()`. With respect to one array it has the structure of the result."""

    @overload
    def __call__(self, fun: Fn[A, P, Q, R], /) -> Derived[A, P, Q, R]: ...
    @overload
    def __call__(self, fun: Fn[D, P, Q, Any], /) -> Derived[D, P, Q, Any]: ...
    @overload
    def __call__(self, fun: Loose[Any, Any], /) -> Any: ...

class HessianAuxDecorator(Protocol):
    """`filter_hessian(has_aux=True)`."""

    @overload
    def __call__(self, fun: Fn[A, P, Q, tuple[R, Aux]], /) -> Derived[A, P, Q, tuple[R, Aux]]: ...
    @overload
    def __call__(self, fun: Fn[D, P, Q, tuple[Any, Aux]], /) -> Derived[D, P, Q, tuple[Any, Aux]]: ...

S_co = TypeVar("S_co", covariant=True)

class JvpRule(Protocol[Q, S_co, R_co]):
    """A rule with parameters `Q` that returns an `S`, and this must do for the function's result `R`."""

    @overload
    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> S_co: ...
    @overload
    def __call__(
        self, primals: Any, tangents: Any, /, *args: Any, **kwargs: Any
    ) -> tuple[R_co, R_co | None]: ...

@attributes(init=False)
class CustomJvpFunction(ABC, Generic[F_co, R]):
    """What `filter_custom_jvp` makes of a function of type `F` that returns an `R`."""

    if _t.TYPE_CHECKING and 1:
        __call__: F_co
        __wrapped__: F_co
    else:
        @property
        def __call__(self) -> F_co: ...
        @property
        def __wrapped__(self) -> F_co: ...

    @abstractmethod
    def def_jvp(self, rule: JvpRule[Q, S, R], /) -> Callable[Q, S]:
        """Set the rule: `rule(primals, tangents, **kwargs) -> (primal_out, tangent_out)`."""

    # As in `Jitted`.
    @overload
    def __get__(
        self: CustomJvpFunction[Callable[Concatenate[Opaque, ...], Any], R],
        obj: object,
        owner: type | None = None,
        /,
    ) -> CustomJvpFunction[F_co, R]: ...
    @overload
    def __get__(
        self: CustomJvpFunction[Callable[Concatenate[S, Q], R], R], obj: S, owner: type | None = None, /
    ) -> Callable[Q, R]: ...
    @overload
    def __get__(self, obj: object, owner: type | None = None, /) -> CustomJvpFunction[F_co, R]: ...

class CustomJvpDecorator(Protocol):
    """`filter_custom_jvp(...)` without a function."""

    def __call__(self, fn: Callable[P, R], /) -> CustomJvpFunction[Callable[P, R], R]: ...

class FwdRule(Protocol[Q, S_co, T_contra, P, R_co]):
    """A rule with parameters `Q` that returns an `S`: it takes what the function takes, and returns that."""

    @overload
    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> S_co: ...
    @overload
    def __call__(
        self, perturbed: Any, diff: T_contra, /, *args: P.args, **kwargs: P.kwargs
    ) -> tuple[R_co, Any]: ...

class BwdRule(Protocol[Q, S_co, T_co, P, R_contra]):  # pyright: ignore[reportInvalidTypeVarUse]  # it looks at the first overload only
    """A rule with parameters `Q` that returns an `S`: from what the function takes, a gradient."""

    @overload
    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> S_co: ...
    @overload
    def __call__(
        self,
        residuals: Any,
        grad_out: R_contra,
        perturbed: Any,
        diff: Any,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T_co | None: ...

class CustomVjpFunction(ABC, Generic[T, P, Q, R]):
    """What `filter_custom_vjp` makes of `fun(diff, *args, **kwargs)`; rules take the diff and `Q`.

    `Q` is `P`, or anything where `P` has `**kwargs`: rules name those that they look at.
    """

    __wrapped__: Callable[Concatenate[T, P], R]

    @abstractmethod
    def __call__(self, diff: T, /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @abstractmethod
    def def_fwd(self, rule: FwdRule[P2, S, T, Q, R], /) -> Callable[P2, S]:
        """Set the forward rule: `rule(perturbed, diff, ...) -> (out, residuals)`."""

    @abstractmethod
    def def_bwd(self, rule: BwdRule[P2, S, T, Q, R], /) -> Callable[P2, S]:
        """Set the backward rule: `rule(residuals, grad_out, perturbed, diff, ...) -> grad_diff`."""

    @abstractmethod
    def defvjp(
        self,
        fwd: Callable[Concatenate[T, Q], tuple[R, Any]],
        bwd: Callable[Concatenate[Any, Any, T, Q], T | None],
        /,
    ) -> None:
        """Set both rules as older code does: `fwd(diff, ...)`, `bwd(residuals, grad_out, diff, ...)`."""

    # As in `Jitted`.
    @overload
    def __get__(
        self: CustomVjpFunction[Opaque, P, Q, R], obj: object, owner: type | None = None, /
    ) -> CustomVjpFunction[T, P, Q, R]: ...
    @overload
    def __get__(self, obj: T, owner: type | None = None, /) -> Callable[P, R]: ...
    @overload
    def __get__(self, obj: object, owner: type | None = None, /) -> CustomVjpFunction[T, P, Q, R]: ...

class VjpDecorator(Protocol):
    """`filter_custom_vjp(...)` without a function."""

    @overload
    def __call__(self, fn: Open[T, P, R], /) -> CustomVjpFunction[T, P, ..., R]: ...
    @overload
    def __call__(self, fn: Open1[T, R], /) -> CustomVjpFunction[T, ..., ..., R]: ...
    @overload
    def __call__(self, fn: Open2[T, R], /) -> CustomVjpFunction[T, ..., ..., R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[T, P], R], /) -> CustomVjpFunction[T, P, P, R]: ...
    @overload
    def __call__(self, fn: Loose[T, R], /) -> CustomVjpFunction[T, ..., ..., R]: ...

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
    check: Check

class CheckpointKeywords(TypedDict, total=False):
    """The options of `filter_checkpoint`."""

    prevent_cse: bool
    policy: Callable[..., bool] | None
    check: Check

class Called(Protocol):
    """What can be called. A `Callable` would say what another call returns that is an argument here."""

    @property
    def __call__(self) -> Any: ...

# What a transform that keeps parameters and result returns: to pyright what it got, since it finds nothing in
# a `Callable[P, R]` that is at once another's argument; to ty as well, where it can't name parameters, as
# those of one of several functions. Not to mypy, which loses the type of a lambda that two overloads hold of.

if _t.TYPE_CHECKING and 1:
    if not MYPY:
        Kept = TypeVar("Kept", bound=Called)
        Mixed = TypeVar("Mixed", bound=OpaqueToo)
elif MYPY:
    Kept = TypeVar("Kept", bound=Opaque)
    Mixed = TypeVar("Mixed", bound=OpaqueToo)
else:
    Kept = TypeVar("Kept", bound=Opaque)
    Mixed = TypeVar("Mixed", bound=Callable[..., Any])

class SameDecorator(Protocol):
    """A transform that keeps parameters and result: `filter_vmap(...)`, `filter_checkpoint(...)`."""

    @overload
    def __call__(self, fun: Kept, /) -> Kept: ...
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]  # see `Kept`
        self, fun: Callable[P, R], /
    ) -> Callable[P, R]: ...
    @overload
    def __call__(self, fun: Mixed, /) -> Mixed: ...

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

# What may stand for arrays: a struct, or a container that may hold some. As a bound, since elsewhere pyright
# finds the class of structs incomplete: its constructor has no annotations.
Struct = TypeVar("Struct", bound=ShapeDtypeStruct | list[Any] | tuple[Any, ...] | dict[Any, Any])

class JaxprMaker(Protocol[P, R_co]):
    """`filter_make_jaxpr(fun)`; a `jax.ShapeDtypeStruct` may stand for an array.

    The arguments are those of the function; or one of the first three is a struct, or a container of such
    maybe; or all positional ones are arrays, whatever the keywords are.
    """

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> tuple[ClosedJaxpr, R_co, Any]: ...
    @overload
    def __call__(
        self,
        first: Struct,  # pyright: ignore[reportInvalidTypeVarUse]  # see there
        /,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[ClosedJaxpr, R_co, Any]: ...
    @overload
    def __call__(
        self,
        first: Any,
        second: Struct,  # pyright: ignore[reportInvalidTypeVarUse]  # see there
        /,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[ClosedJaxpr, R_co, Any]: ...
    @overload
    def __call__(
        self,
        first: Any,
        second: Any,
        third: Struct,  # pyright: ignore[reportInvalidTypeVarUse]  # see there
        /,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[ClosedJaxpr, R_co, Any]: ...
    @overload
    def __call__(self, *args: Array, **kwargs: Any) -> tuple[ClosedJaxpr, R_co, Any]: ...

class MakeJaxprDecorator(Protocol):
    """`filter_make_jaxpr(...)` without a function."""

    @overload
    def __call__(self, fun: Callable[P, Opaque], /) -> JaxprMaker[P, Any]: ...
    @overload
    def __call__(self, fun: Callable[P, Array], /) -> JaxprMaker[P, ShapeDtypeStruct]: ...
    @overload
    def __call__(self, fun: Callable[P, Any], /) -> JaxprMaker[P, Any]: ...
