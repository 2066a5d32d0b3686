"""Floor 3, inbound: taking mail from whoever brings it."""
