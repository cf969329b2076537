"""What every transform returns and calls: wrappers, stacks, bodies, and the arguments of a call."""
