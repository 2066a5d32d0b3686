"""Floor 2, storage: what survives a power cut."""
