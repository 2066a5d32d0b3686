"""Fuzz the conversations and the readers of the house: `python tests/fuzz/fuzzing.py --seconds 60 [target ...]`.

    python tests/fuzz/fuzzing.py --list                     which targets there are, and what must hold for each
    python tests/fuzz/fuzzing.py --seconds 900 smtp-server  one of them, for a quarter of an hour
    python tests/fuzz/fuzzing.py --replay FILE smtp-server  one input again
    python tests/fuzz/fuzzing.py --gather 40 smtp-server    afterwards keep the 40 most telling inputs as its corpus

Lives here: the command line, and choosing what of a run is kept. A finding is written to the corpus at once (its name
begins with `finding-`), and stays there as a test.
Does not live here: the fuzzer (engine.py), the targets. Exit 1 where there was a finding.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

from fuzz import (  # noqa: E402
    client_target,
    grammar_target,
    message_target,
    pop3_target,
    report_target,
    server_target,
    talk_target,
)
from fuzz.engine import CORPUS, Account, Fuzzer, Target, read_corpus, write_input  # noqa: E402

TARGETS: dict[str, Target] = {
    one.TARGET.name: one.TARGET
    for one in (
        server_target,
        client_target,
        pop3_target,
        grammar_target,
        message_target,
        report_target,
        talk_target,
    )
} | {talk_target.TOML.name: talk_target.TOML}
SMALL = 1_500  # octets of an input that may be gathered into the corpus


def fuzz(target: Target, seconds: float, seed: int, *, keep: bool = True) -> tuple[Account, Fuzzer]:
    """Run one target, from its corpus and its seeds on. Findings go into the corpus where `keep`."""
    fuzzer = Fuzzer(target, seed)
    fuzzer.learn(read_corpus(target.name))
    fuzzer.learn(target.seeds())
    fuzzer.fuzz(seconds)
    if keep:
        for finding in fuzzer.account.findings:
            write_input(target.name, finding.data, "finding-")
    return fuzzer.account, fuzzer


def gather(fuzzer: Fuzzer, most: int) -> int:
    """Replace the target's corpus by the fewest small inputs that show the most; findings stay. How many are new."""
    target = fuzzer.target
    shown = {data: set(target.run(data)) for data in fuzzer.pool if len(data) <= SMALL}
    chosen: list[bytes] = []
    covered: set[object] = set()
    while shown and len(chosen) < most:
        best = max(shown, key=lambda data: (len(shown[data] - covered), -len(data)))
        if not shown[best] - covered:
            break
        covered |= shown.pop(best)
        chosen.append(best)
    for path in (CORPUS / target.name).glob("*"):
        if not path.name.startswith("finding-"):
            path.unlink()
    for data in chosen:
        write_input(target.name, data)
    return len(chosen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="target", help="all of them where none is named")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=None, help="the same seed breeds the same inputs")
    parser.add_argument("--replay", type=Path, help="run this input alone")
    parser.add_argument("--gather", type=int, default=0, metavar="N", help="keep the N most telling inputs")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]}; there are {', '.join(TARGETS)}")
    chosen = [TARGETS[name] for name in options.targets or TARGETS]
    if options.list:
        for target in chosen:
            print(f"{target.name}: {target.invariant}")
        return 0
    if options.replay is not None:
        for target in chosen:
            print(target.name, len(set(target.run(options.replay.read_bytes()))), "features")
        return 0
    failed = False
    for target in chosen:
        seed = secrets.randbits(32) if options.seed is None else options.seed
        account, fuzzer = fuzz(target, options.seconds, seed)
        print(f"{account}  seed {seed}", flush=True)
        for finding in account.findings:
            failed = True
            print(f"  {finding.error}\n  {finding.where}\n  {finding.data[:400]!r}", flush=True)
        if options.gather:
            print(f"  {gather(fuzzer, options.gather)} inputs in the corpus", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
