"""What differs between the releases of JAX that are supported, and how they word what they say.

The only place that knows of versions, and of JAX's wording.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import PartitionSpec

NAMED_STATICS_ARE_EXACT = jax.__version_info__ >= (0, 9)
"""Whether `jax.jit` tells static arguments that are passed by name apart by their classes, too.

Before, it did that by position only: `f(n=1)` and `f(n=True)` ran one program."""

ABSTRACT_MESHES = hasattr(jax.sharding, "use_abstract_mesh")
"""Whether a program can be traced under a mesh that has no devices."""

SET_MESH = "jax.set_mesh" if hasattr(jax, "set_mesh") else "jax.sharding.use_mesh"
"""What sets the ambient mesh, for people."""

DONATED_CALLS_CRASH = jax.__version_info__ < (0, 11)
"""Whether a call with an array on several devices that was donated before ends the process, or stops it.

0.10 is ended by it; before, an error is raised, and the devices may wait for one another for ever."""


def spec_entries(spec: PartitionSpec) -> tuple[Any, ...]:
    """What a `PartitionSpec` says of each dimension; one that is unreduced is not to be iterated."""
    return tuple(spec.partitions if hasattr(spec, "partitions") else spec)


def varying_axes(array: Any) -> frozenset[str]:
    """The axes of the mesh along which an array inside of `jax.shard_map` differs from device to device."""
    aval: Any = jax.typeof(array)
    kind = getattr(aval, "manual_axis_type", None)  # `vma` before JAX 0.10
    return frozenset(map(str, kind.varying if kind is not None else getattr(aval, "vma", ())))


def concrete_mesh() -> Any:
    """The ambient mesh with its devices; `None` where none is set, and inside of a trace, which has none."""
    if hasattr(jax.sharding, "get_mesh"):
        try:
            mesh = jax.sharding.get_mesh()
        except ValueError:
            return None
        return None if mesh.empty else mesh
    try:
        probe = jax.device_put(0, PartitionSpec())  # these releases say it in no other way
    except ValueError:  # there is none
        return None
    return getattr(probe.sharding, "mesh", None)


def memory_space(kind: str | None) -> Any:
    """What moves an array to a kind of memory, split as it is; `None` where JAX has no such."""
    spaces = getattr(getattr(jax, "memory", None), "Space", None)
    known: dict[str | None, Any] = (
        {} if spaces is None else {"device": spaces.Device, "pinned_host": spaces.Host}
    )
    return known.get(kind)


# From the first word on, where an error of the user's own may speak of the same.
UNUSABLE_DONATIONS = "Some donated buffers were not usable"
"""How the warning begins that donated buffers could not be used."""
_DELETED = re.compile(
    "Array has been deleted with shape|INVALID_ARGUMENT: Invalid buffer passed.* deleted or donated"
)
_TWICE = re.compile(
    "INVALID_ARGUMENT: Attempt to (use a buffer that was previously donated|donate the same buffer)"
)
UNBOUND_AXIS = re.compile(r"unbound axis name:? (\S+?)[.:]?(?:\s|$)")
"""How an axis name is told of that no map around binds."""

ITERATES_SYMBOL = "'NoneType' object has no attribute 'process_primitive'"
"""What JAX 0.12 says where somebody iterates over an axis whose size is a symbol."""

DIFFERENT_NODES = re.compile(r"different pytree metadata|custom node data", re.IGNORECASE)
"""How JAX tells of two trees whose nodes hold other things beside their children."""

_BLAMED = re.compile(r"depends on the values? of the arguments? (.+?)\.(?:\s|$)")
_FORMATTED = re.compile(r"passed to \w*Tracer\.__format__|a (real )?number is required, not \w*Tracer$")
_UNHASHABLE = re.compile(r"unhashable type: '\w*Tracer'")
_FORWARD = re.compile(r"can't apply forward-mode (autodiff|differentiation) \(jvp\) to a custom_vjp function")


def can_be_told(error: BaseException) -> bool:
    """Whether an error, perhaps of the user's own, has a text that can be written."""
    try:
        str(error).encode()
    except Exception:
        return False
    return True


def text_of(error: BaseException) -> str:
    """The text of an error; empty where an error of the user's own can't say it."""
    try:
        return str(error)
    except Exception:
        return ""


def tells_of_deleted(error: BaseException) -> bool:
    """Whether an array was used whose memory is gone."""
    return bool(_DELETED.match(text_of(error)))


def tells_of_donated_twice(error: BaseException) -> bool:
    """Whether one buffer was passed in two places, in one of which it is donated."""
    return bool(_TWICE.match(text_of(error)))


def arguments_blamed(error: BaseException) -> list[str]:
    """The arguments, with paths to leaves, whose values would have to be known while tracing."""
    found = _BLAMED.search(text_of(error))
    return [] if found is None else re.split(r", and |, ", found.group(1))


def says_formatted(error: BaseException) -> bool:
    """Whether a traced value was to be written into a text, with a format as of a number."""
    return isinstance(error, TypeError) and bool(_FORMATTED.search(text_of(error)))


def says_unhashable(error: BaseException) -> bool:
    """Whether a traced value was to be a key of a dictionary, or in a set."""
    return isinstance(error, TypeError) and bool(_UNHASHABLE.search(text_of(error)))


def axis_unbound(error: BaseException) -> str | None:
    """The axis name that no map around binds, where an error is about that."""
    found = UNBOUND_AXIS.search(text_of(error)) if isinstance(error, NameError) else None
    return None if found is None else found.group(1)


def says_stuck(error: BaseException) -> bool:
    """Whether JAX takes a call for one that it is in the middle of: so it does, too, after an interrupt."""
    return isinstance(error, RecursionError) and text_of(error).startswith("Recursively calling <weakref")


def says_unsorted(error: BaseException) -> bool:
    """Whether a dictionary has keys that can't be compared, so that it is no pytree."""
    return isinstance(error, ValueError) and "sorting pytree dictionary keys" in str(error)


def says_forward_through_vjp(error: BaseException) -> bool:
    """Whether a forward-mode derivative was asked of a function with a reverse-mode rule."""
    return isinstance(error, TypeError) and bool(_FORWARD.match(text_of(error)))


LEAVES_FRAMES_OUT = "reraise_with_filtered_traceback"
"""The function of JAX's that leaves its frames out of the tracebacks of errors that pass through it."""


def says_frames_left_out(note: object) -> bool:
    """Whether a note on an error only says that frames of JAX's were left out of its traceback."""
    return "JAX has removed its internal frames" in str(note)


def says_out_of_memory(error: BaseException) -> bool:
    """Whether a device has no memory for a program or its results."""
    return isinstance(error, RuntimeError) and text_of(error).startswith("RESOURCE_EXHAUSTED")


def says_incompatible_devices(error: BaseException) -> bool:
    """Whether committed arguments are on other devices than a program runs on."""
    return text_of(error).startswith("Received incompatible devices for jitted computation")


def says_incompatible_mesh(error: BaseException) -> bool:
    """Whether a place of one mesh met a constraint of another."""
    return "is incompatible with mesh_shape" in text_of(error)


def says_needs_devices(error: BaseException) -> bool:
    """Whether a `PartitionSpec` was refused since no mesh of devices is set."""
    texts = ("jit requires a non-empty mesh", "jax.jit only supports `Sharding`s")
    return isinstance(error, RuntimeError) and text_of(error).startswith(texts)


def says_placed_otherwise(error: BaseException) -> bool:
    """Whether an argument is committed to another place than the program was told."""
    texts = (
        "Sharding passed to jit does not match",
        "Sharding passed to pjit does not match",
        "Memory kinds passed to jax.jit does not match",
        "Layout passed to jit does not match",
        "Computation was compiled for input shardings that disagree",
    )
    return text_of(error).startswith(texts)


def says_needs_mesh(error: BaseException) -> bool:
    """Whether a mesh, or an axis of it, is missing that a `PartitionSpec` or `jax.shard_map` names."""
    texts = (
        "requires a non-empty mesh",
        "when you are not under a mesh context",
        "context mesh cannot be empty",
        "is not found in mesh",
        "must refer to an axis marked as manual",
    )
    return any(text in text_of(error) for text in texts)


def says_unlike_in_specs(error: BaseException) -> bool:
    """Whether `jax.shard_map` was to split an array otherwise than its type says, on an Explicit mesh."""
    return text_of(error).startswith("in_specs passed to shard_map")


def says_spread_numpy(error: BaseException) -> bool:
    """Whether each of several processes has passed a NumPy array that is to be split over all of them."""
    return text_of(error).startswith("Passing non-trivial shardings for numpy inputs is not allowed")


def says_out_axes_none(error: BaseException) -> bool:
    """Whether something with `out_axes=None` differs between the mapped examples."""
    return "out_axes" in text_of(error) and "None" in text_of(error)


_ON_HOST = re.compile(r"CpuCallback error|callback failed|XlaRuntimeError: INTERNAL")
_PLACE = re.compile(r'^  File "(.*)", line (\d+), in (.*)$', re.MULTILINE)


HOST_REPORTS = (RuntimeError, ValueError)
"""What JAX's report of an exception in a callback is: the second, where a program had run before."""


def raised_on_host(error: BaseException) -> str | None:
    """What a callback raised and where, as JAX's report of it tells: "`f` at a.py:3 raised KeyError: 'x'"."""
    text = text_of(error)
    if not isinstance(error, HOST_REPORTS) or not _ON_HOST.search(text.partition("\n")[0]):
        return None
    places = _PLACE.findall(text)
    if not places:
        return None
    filename, line, function = places[-1]
    raised = text.rstrip().rpartition("\n")[2]
    return f"`{function}` at {filename}:{line} raised {raised}"


_EQUINOX = re.compile(r"^_EquinoxRuntimeError: (.*?)(?:\n\n\n-{20}\n|\Z)", re.DOTALL | re.MULTILINE)


def equinox_error(report: str) -> Exception | None:
    """The error of `equinox.error_if` that JAX reports of, as `equinox.filter_jit` would raise it.

    It exists only where somebody else has imported Equinox.
    """
    found = _EQUINOX.search(report)
    cls = getattr(sys.modules.get("equinox"), "EquinoxRuntimeError", None)
    return None if found is None or cls is None else cls(found.group(1))


_CONTEXTS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_softmax_custom_jvp",
    "jax_debug_nans",
    "jax_debug_infs",
    "jax_default_device",
    "jax_check_tracer_leaks",
    "jax_debug_key_reuse",
    "jax_enable_checks",
    "jax_explicit_x64_dtypes",
    "jax_optimization_level",
    "jax_high_dynamic_range_gumbel",
)


def trace_contexts() -> dict[str, object]:
    """The settings that a program is traced under, by name, and the ambient mesh."""
    found: dict[str, object] = {name: getattr(jax.config, name, None) for name in _CONTEXTS}
    mesh = getattr(jax.sharding, "get_abstract_mesh", None)
    return found if mesh is None else found | {"the ambient mesh": mesh()}


def says_leak(error: BaseException) -> bool:
    """Whether `jax.checking_leaks` found a tracer that outlives its trace."""
    return text_of(error).startswith("Leaked ")


def scan_constants(params: Mapping[str, Any]) -> int:
    """How many operands of a `scan` in a jaxpr every step is given whole; from JAX 0.11 on, trees say so."""
    if "num_consts" in params:
        return int(params["num_consts"])
    return len(params["ft_in"].unpack()[0])


def scan_carried(params: Mapping[str, Any]) -> int:
    """How many operands of a `scan` in a jaxpr are the carry, which each step hands on."""
    if "num_carry" in params:
        return int(params["num_carry"])
    return len(params["ft_in"].unpack()[1])
