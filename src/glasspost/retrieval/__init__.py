"""Floor 3, retrieval: handing mail to its owners."""
