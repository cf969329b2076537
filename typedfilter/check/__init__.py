"""Shape proofs: `check_shapes`, the command `typedfilter check`, and the pytest plugin.

Stands on the plans, the wrappers and the axes of the library, and on nothing above.
"""

from typedfilter.check.api import check_shapes, example, example_of
from typedfilter.check.report.report import Report
from typedfilter.check.report.results import Frame, Result, Span, Status, Unreadable

__all__ = [
    "Frame",
    "Report",
    "Result",
    "Span",
    "Status",
    "Unreadable",
    "check_shapes",
    "example",
    "example_of",
]
