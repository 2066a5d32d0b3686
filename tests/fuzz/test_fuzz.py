"""The fuzzer in CI: each committed input again, then a few seconds of new ones for each target; and the fuzzer itself.

Lives here: a minute for all targets together. A longer run is `python tests/fuzz/fuzzing.py --seconds 900`. The seed is
fixed, so what fails here fails again; a finding's octets are in the failure.
Does not live here: the invariants (the targets).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fuzz import fuzzing
from fuzz.engine import Fuzzer, Target, cuttings, read_corpus

SECONDS = 5.0  # for each target
SEED = 20261123


@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_what_was_found_once_stays_found_out(name: str) -> None:
    inputs = read_corpus(name)
    assert inputs, "no corpus is committed"
    for data in inputs:
        set(fuzzing.TARGETS[name].run(data))


@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_a_few_seconds_find_nothing(name: str) -> None:
    account, _ = fuzzing.fuzz(fuzzing.TARGETS[name], SECONDS, SEED, keep=False)
    assert account.executions > 0
    assert not account.findings, "\n".join(f"{one.error}\n{one.where}\n{one.data!r}" for one in account.findings)


def test_every_target_says_what_must_hold() -> None:
    for target in fuzzing.TARGETS.values():
        assert len(target.invariant) > 40 and target.invariant.endswith(".")


# --- the fuzzer itself ----------------------------------------------------------------------------------------


def _brittle(data: bytes) -> Iterator[str]:
    """Breaks on two words, the second of which is only looked at behind the first."""
    yield "begun"
    if b"AB" in data:
        yield "half way"
        assert b"CD" not in data, "found"


def test_it_finds_what_is_planted_and_makes_it_small() -> None:
    target = Target("planted", _brittle, lambda: [b"some text to begin with"], (b"AB", b"CD"))
    fuzzer = Fuzzer(target, SEED)
    fuzzer.learn(target.seeds())
    fuzzer.fuzz(1.0)
    (finding,) = fuzzer.account.findings
    assert sorted(finding.data) == sorted(b"ABCD")
    assert "found" in finding.error


def test_the_same_seed_breeds_the_same_inputs() -> None:
    target = Target("planted", lambda data: [len(data) // 8], lambda: [b"line\r\nof text\r\n"], (b"AB",))
    bred = []
    for _ in range(2):
        fuzzer = Fuzzer(target, SEED)
        fuzzer.learn(target.seeds())
        for _ in range(300):
            fuzzer.try_out(fuzzer.breed(), watched=False)
        bred.append(fuzzer.pool)
    assert bred[0] == bred[1]


def test_cuttings_hang_on_the_octets_alone_and_lose_nothing() -> None:
    data = b"MAIL FROM:<a@b.c>\r\n" * 3
    ways = cuttings(data, 6, at=[19])
    assert ways == cuttings(data, 6, at=[19])
    assert len({len(way) for way in ways}) > 2
    for way in ways:
        assert b"".join(way) == data and all(way)
        assert 19 in [sum(map(len, way[:number])) for number in range(len(way))]
