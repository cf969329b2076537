"""Which axis of each leaf is mapped, in arguments and in results."""
