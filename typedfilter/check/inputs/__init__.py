"""The abstract arguments that a trial is made with: symbols and sizes, from annotations."""
