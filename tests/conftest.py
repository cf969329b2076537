"""What every test session shares: eight virtual CPU devices, and property tests that repeat."""

from __future__ import annotations

import os

# Before anything imports JAX: it reads both once.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

from hypothesis import settings

# No deadline: the first example of a test compiles. Derandomized: a failure must fail again.
settings.register_profile("typedfilter", deadline=None, derandomize=True)
settings.load_profile("typedfilter")
