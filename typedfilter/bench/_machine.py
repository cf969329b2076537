"""What a measurement was made on: numbers mean little without it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("typedfilter", "jax", "jaxlib", "numpy", "jaxtyping", "beartype", "equinox")


def describe() -> dict[str, Any]:
    """The devices, the processor and the versions, as data."""
    return {
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def busy(machine: dict[str, Any]) -> str:
    """Why measurements of this machine tell little just now; empty where it has nothing else to do."""
    load, cores = machine["load"], machine["cores"] or 1
    if load is None or load <= cores / 2:
        return ""
    return f"but other work keeps this machine too busy to judge (load {load} on {cores} cores)"


def in_words(machine: dict[str, Any]) -> list[str]:
    """The same as lines of text."""
    versions = [f"{name} {version}" for name, version in machine["versions"].items() if version]
    kinds = machine["devices"]
    devices = "" if machine["backend"] == "cpu" else f"{len(kinds)} x {kinds[0]}, "
    load = "" if machine["load"] is None else f", load {machine['load']} when it began"
    return [
        ", ".join([f"Python {machine['python']}", *versions]),
        f"{machine['backend']}: {devices}{machine['processor']}, {machine['cores']} cores{load}",
    ]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    with contextlib.suppress(OSError):
        named = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if named is not None:
            return named[1]
    return platform.processor() or platform.machine()
