"""What a stack of transforms does to every parameter and leaf, and why: as values and as text."""
