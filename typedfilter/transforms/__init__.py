"""The transforms, one small module a family. Siblings do not import each other."""
