"""What the tests of places ask JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.monitoring
import pytest


@pytest.fixture(scope="module")
def compiled() -> list[str]:
    """What has been compiled so far. Nobody can take a single listener of JAX's off again."""
    heard: list[str] = []

    def listen(event: str, seconds: float, **facts: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            heard.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return heard
