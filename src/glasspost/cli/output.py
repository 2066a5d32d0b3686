"""What is printed, where it cannot be written: a disk that is full, a reader who has had enough.

Lives here: letting go of such a stream.
Does not live here: what is printed (each command), what it means for the exit code (main.py).
"""

from __future__ import annotations

import os
from typing import TextIO


def to_nobody(stream: TextIO) -> None:
    """From now on what is written to a stream goes nowhere, also what waits in it: Python would try to flush that at
    the end, and fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
