"""From annotations to hints, and from a callable to its plan."""
