"""Typed, annotation-driven transforms for JAX."""

from typedfilter.annotations import Diff, Donate, NoDiff, Static, Traced
from typedfilter.errors import (
    AnnotationError,
    DonationError,
    ShapeError,
    StaticArgumentError,
    TypedFilterError,
    VmapAxisError,
)
from typedfilter.filters import (
    apply_updates,
    combine,
    filter,
    if_array,
    is_array,
    is_array_like,
    is_array_or_struct,
    is_inexact_array,
    is_inexact_array_like,
    partition,
    tree_equal,
)
from typedfilter.transforms.custom_jvp import filter_custom_jvp
from typedfilter.transforms.custom_vjp import filter_custom_vjp
from typedfilter.transforms.grad import filter_grad, filter_value_and_grad
from typedfilter.transforms.jacobian import filter_hessian, filter_jacfwd, filter_jacrev
from typedfilter.transforms.jit import filter_jit
from typedfilter.transforms.jvp import filter_jvp
from typedfilter.transforms.vjp import filter_vjp
from typedfilter.transforms.vmap import filter_vmap
from typedfilter.vmap_axis import VmapAxis
