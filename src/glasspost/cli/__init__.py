"""Floor 6, hands: what a person types."""
