"""Loops and branches: state taken apart for `jax.lax`, programs kept for each body, what must come back."""
