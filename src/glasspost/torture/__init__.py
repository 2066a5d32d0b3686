"""The torture chamber: a real node, its neighbours and its disk, treated worse than life will."""
