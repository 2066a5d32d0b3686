"""When to try again, when to tell, when to give up (RFC 5321 §4.5.4.1): arithmetic, with nothing left to chance."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.node.relay_settings import Relay
from glasspost.outbound.retry import Schedule, period

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
ARRIVED = 1_800_000_000.0


def test_each_failure_has_its_wait_and_the_last_wait_repeats() -> None:
    schedule = Schedule((1 * MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR), jitter=0)
    waits = [schedule.next_attempt(ARRIVED, attempts) - ARRIVED for attempts in range(1, 9)]
    assert waits == [60, 300, 900, 1800, 3600, 3600, 3600, 3600]


@given(st.integers(1, 20), st.floats(0, 0.9), st.randoms(use_true_random=False))
def test_jitter_stays_within_its_share(attempts: int, jitter: float, chance: random.Random) -> None:
    schedule = Schedule((60.0, 3600.0), jitter=jitter, chance=chance)
    wait = schedule.next_attempt(ARRIVED, attempts) - ARRIVED
    usual = 60 if attempts == 1 else 3600
    assert usual * (1 - jitter) - 0.001 <= wait <= usual * (1 + jitter) + 0.001


def test_what_failed_together_does_not_come_back_together() -> None:
    schedule = Schedule((60.0,), jitter=0.1, chance=random.Random(7))
    waits = {schedule.next_attempt(ARRIVED, 1) for _ in range(100)}
    assert len(waits) == 100
    assert max(waits) - min(waits) > 9


def test_giving_up() -> None:
    schedule = Schedule((60.0,), expire=5 * DAY)
    assert not schedule.expired(ARRIVED + 5 * DAY - 1, ARRIVED)
    assert schedule.expired(ARRIVED + 5 * DAY, ARRIVED)
    assert schedule.last_attempt_by(ARRIVED) == ARRIVED + 5 * DAY


@pytest.mark.parametrize(
    ("after", "told", "notice", "tell"),
    [(4 * HOUR - 1, False, 4 * HOUR, False), (4 * HOUR, False, 4 * HOUR, True), (9 * HOUR, True, 4 * HOUR, False),
     (9 * HOUR, False, 0, False)],
)  # fmt: skip
def test_telling_of_a_delay(after: float, told: bool, notice: float, tell: bool) -> None:
    assert Schedule((60.0,), delay_notice=notice).should_tell(ARRIVED + after, ARRIVED, told) is tell


def test_the_defaults_try_soon_and_for_five_days() -> None:
    """RFC 5321 §4.5.4.1: a retry interval of at least 30 minutes on the whole, and 4-5 days before giving up."""
    relay = Relay()
    assert list(relay.schedule[:4]) == [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE]
    assert HOUR <= relay.schedule[4] <= relay.schedule[-1] <= 4 * HOUR
    assert (relay.delay_notice, relay.expire) == (4 * HOUR, 5 * DAY)
    assert 0 < relay.jitter < 0.5


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5 * DAY, "5 days"), (DAY, "1 day"), (4 * HOUR, "4 hours"), (90 * MINUTE, "2 hours"), (MINUTE, "1 minute"),
     (1, "1 second"), (30, "30 seconds"), (0, "no time")],
)  # fmt: skip
def test_durations_in_words(seconds: float, words: str) -> None:
    assert period(seconds) == words
