"""explain: what replies, codes, commands and failures mean, in words."""
