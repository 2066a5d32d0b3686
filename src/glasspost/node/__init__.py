"""Floor 4, node: the house put together."""
