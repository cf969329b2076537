# What `VmapAxis` and `ScanAxis` are to pyright: see typedfilter/vmap_axis.pyi. There is no such module at run
# time. It has a name of its own because `pyright --verifytypes typedfilter` calls a class with an unknown base incomplete, and this
# one is unknown on purpose: it takes and gives anything.
from typing import Any, Protocol

class VmapAxis(Any, Protocol):
    def __class_getitem__(cls, item: Any) -> Any: ...

class ScanAxis(Any, Protocol):
    def __class_getitem__(cls, item: Any) -> Any: ...
