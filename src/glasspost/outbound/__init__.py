"""Floor 3, outbound: passing mail on, and trying again."""
