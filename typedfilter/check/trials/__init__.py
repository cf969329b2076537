"""A function run on abstract arguments, and the verdict on it."""
