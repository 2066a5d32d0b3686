"""A message judged by its form: would a strict server take it, and does it look like spam."""
