"""The run-time check of shapes, dtypes and types, and what its errors say."""
