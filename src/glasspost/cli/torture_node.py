"""The node that `glasspost torture` mistreats: `glasspost serve`, word for word, on a disk and a clock that lie.

    python -m glasspost.cli.torture_node SEED ORDERS serve --config FILE --data DIR

Lives here: laying the tortured disk and clock under the process (torture/underneath.py), then the command line as ever.
Does not live here: any command. It is a program of its own, and not a command of `glasspost`, so that nobody starts
it by accident.
"""

from __future__ import annotations

import os
import sys

from glasspost.torture.underneath import lay  # it takes nothing of the house that looks at a clock


def main(arguments: list[str]) -> int:
    """SEED is for the disk's whims, ORDERS (`;` between them) are obeyed first, the rest is a glasspost command."""
    seed, orders, *command = arguments
    underneath = lay(int(seed), orders)
    underneath.listen(sys.stdin)

    from glasspost.cli.main import main as glasspost

    code = glasspost(command)
    sys.stdout.flush()
    underneath.disk.end()
    return code


if __name__ == "__main__":
    # Without the interpreter's farewell: the layer under SQLite must not be taken apart while a connection is open.
    os._exit(main(sys.argv[1:]))
