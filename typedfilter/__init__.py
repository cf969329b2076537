"""Typed, annotation-driven transforms for JAX."""

from typedfilter._differentiating.optimisers import Optimiser, optimiser
from typedfilter._differentiating.trainable import trainable
from typedfilter._values.leaves import (
    if_array,
    is_array,
    is_array_like,
    is_array_or_struct,
    is_inexact_array,
    is_inexact_array_like,
)
from typedfilter.annotations import Diff, Donate, NoDiff, Static, Traced
from typedfilter.check import check_shapes
from typedfilter.errors import (
    AnnotationError,
    CheckWarning,
    DonationError,
    PytreeError,
    RetraceError,
    RuleError,
    ShapeError,
    StaticArgumentError,
    TypedFilterError,
    VmapAxisError,
)
from typedfilter.explain.retraces import log_retraces
from typedfilter.explain.table import explain
from typedfilter.filters import apply_updates, combine, filter, partition, tree_equal
from typedfilter.pytree import pytree_dataclass
from typedfilter.transforms.branches import filter_cond, filter_switch
from typedfilter.transforms.callback import filter_pure_callback
from typedfilter.transforms.checkpoint import filter_checkpoint
from typedfilter.transforms.closure_convert import filter_closure_convert
from typedfilter.transforms.custom_jvp import filter_custom_jvp
from typedfilter.transforms.custom_vjp import filter_custom_vjp
from typedfilter.transforms.grad import filter_grad, filter_value_and_grad
from typedfilter.transforms.jacobian import filter_hessian, filter_jacfwd, filter_jacrev
from typedfilter.transforms.jit import filter_jit
from typedfilter.transforms.jvp import filter_jvp
from typedfilter.transforms.linearize import filter_linearize
from typedfilter.transforms.loops import filter_fori_loop, filter_while_loop
from typedfilter.transforms.map import filter_associative_scan, filter_map
from typedfilter.transforms.pmap import filter_pmap
from typedfilter.transforms.scan import filter_scan
from typedfilter.transforms.shard import filter_shard
from typedfilter.transforms.shard_map import filter_shard_map
from typedfilter.transforms.tracing import filter_eval_shape, filter_make_jaxpr
from typedfilter.transforms.vjp import filter_vjp
from typedfilter.transforms.vmap import filter_vmap
from typedfilter.vmap_axis import ScanAxis, VmapAxis

__all__ = [
    "AnnotationError",
    "Diff",
    "Donate",
    "DonationError",
    "NoDiff",
    "Optimiser",
    "PytreeError",
    "CheckWarning",
    "RetraceError",
    "RuleError",
    "ScanAxis",
    "ShapeError",
    "Static",
    "StaticArgumentError",
    "Traced",
    "TypedFilterError",
    "VmapAxis",
    "VmapAxisError",
    "apply_updates",
    "check_shapes",
    "combine",
    "explain",
    "filter",
    "filter_associative_scan",
    "filter_checkpoint",
    "filter_closure_convert",
    "filter_cond",
    "filter_custom_jvp",
    "filter_custom_vjp",
    "filter_eval_shape",
    "filter_fori_loop",
    "filter_grad",
    "filter_hessian",
    "filter_jacfwd",
    "filter_jacrev",
    "filter_jit",
    "filter_jvp",
    "filter_linearize",
    "filter_make_jaxpr",
    "filter_map",
    "filter_pmap",
    "filter_pure_callback",
    "filter_scan",
    "filter_shard",
    "filter_shard_map",
    "filter_switch",
    "filter_value_and_grad",
    "filter_vjp",
    "filter_vmap",
    "filter_while_loop",
    "if_array",
    "is_array",
    "is_array_like",
    "is_array_or_struct",
    "is_inexact_array",
    "is_inexact_array_like",
    "log_retraces",
    "optimiser",
    "partition",
    "pytree_dataclass",
    "trainable",
    "tree_equal",
]
