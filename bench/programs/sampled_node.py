"""A node that looks at itself: `glasspost` with the sampler in it.

    python sampled_node.py FOLDER serve --config FILE --data DIR

Lives here: waiting for FOLDER/start, sampling until FOLDER/stop, writing FOLDER/found.json.
Does not live here: the sampler (sampler.py), what is done to the node meanwhile (profile.py).
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
sys.path.append(str(BENCH))  # behind the standard library: the bench has a profile.py too

from sampler import Sampler  # noqa: E402


def _watch(folder: Path) -> None:
    while not (folder / "start").exists():
        time.sleep(0.05)
    sampler = Sampler()
    begun = time.monotonic()
    sampler.start()
    while not (folder / "stop").exists():
        time.sleep(0.05)
    sampler.stop()
    found = {
        "seconds": time.monotonic() - begun,
        "looks": sampler.looks,
        "rooms": [[thread, room, used] for (thread, room), used in sampler.rooms.items()],
        "places": sampler.places.most_common(40),
    }
    (folder / "found.part").write_text(json.dumps(found))
    (folder / "found.part").rename(folder / "found.json")


def main() -> None:
    folder = Path(sys.argv.pop(1))
    threading.Thread(target=_watch, args=(folder,), name="sampler's keeper", daemon=True).start()
    from glasspost.cli.main import run

    run()


if __name__ == "__main__":
    main()
