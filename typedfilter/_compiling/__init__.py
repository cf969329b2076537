"""How a call of a jitted function reaches `jax.jit`, and what lives as long as what."""
