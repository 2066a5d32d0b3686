"""The servers under test, one file each: what the bench knows about a server stands in its file and nowhere else."""
