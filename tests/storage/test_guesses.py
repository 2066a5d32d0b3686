"""Wrong passwords, counted: who waits, who is shut out, and who is not (storage/guesses.py)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from glasspost.storage.guesses import HALF_LIFE, Guesses, GuessSettings, units
from glasspost.testing import ManualClock

SETTINGS = GuessSettings(per_address=4, per_network=8, per_account=12, lockout=900, longest_wait=10)
ALICE, HOME, AWAY = "alice@example.org", "192.0.2.1", "198.51.100.1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def guesses(tmp_path: Path, clock: ManualClock) -> Iterator[Guesses]:
    guesses = Guesses(tmp_path / "limits.db", SETTINGS, clock)
    yield guesses
    guesses.close()


def fail(guesses: Guesses, times: int, ip: str = AWAY, account: str = ALICE) -> list[str]:
    return [name for _ in range(times) for name in guesses.wrong(ip, account)]


def test_the_wait_grows_and_then_the_door_is_shut_for_a_while(guesses: Guesses, clock: ManualClock) -> None:
    waits = []
    for _ in range(4):
        waits.append(guesses.standing(AWAY, ALICE).wait)
        guesses.wrong(AWAY, ALICE)
    assert waits == [0, 0.5, 1, 2]
    assert guesses.standing(AWAY, "somebody else").shut_out == "address"
    clock.advance(899)
    assert guesses.standing(AWAY, ALICE).shut_out
    clock.advance(2)
    standing = guesses.standing(AWAY, ALICE)
    assert not standing.shut_out and standing.wait == 0.5, "the count has halved meanwhile, one and a half times"


def test_counts_halve_with_time(guesses: Guesses, clock: ManualClock) -> None:
    fail(guesses, 2)
    clock.advance(HALF_LIFE)
    assert {one.kind: round(one.count, 3) for one in guesses.failures()}["address"] == 1
    clock.advance(20 * HALF_LIFE)
    assert guesses.failures() == []


def test_a_network_of_guessers_is_shut_out_as_a_whole(guesses: Guesses) -> None:
    for last in range(8):
        guesses.wrong(f"198.51.100.{last}", f"user{last}@example.org")
    assert guesses.standing("198.51.100.99", ALICE).shut_out == "network"
    assert not guesses.standing("203.0.113.1", ALICE).shut_out


def test_an_ipv6_customer_is_one_address(guesses: Guesses) -> None:
    for last in range(4):
        guesses.wrong(f"2001:db8:1:2::{last}", f"user{last}@example.org")
    assert guesses.standing("2001:db8:1:2:ffff::1", ALICE).shut_out == "address"
    assert not guesses.standing("2001:db8:1:3::1", ALICE).shut_out


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("192.0.2.77", ("192.0.2.77", "192.0.2.0/24")),
        ("::ffff:192.0.2.77", ("192.0.2.77", "192.0.2.0/24")),
        ("2001:db8:1:2::9%eth0", ("2001:db8:1:2::/64", "2001:db8:1::/48")),
        ("nonsense", ("nonsense", "nonsense")),
    ],
)
def test_units(ip: str, expected: tuple[str, str]) -> None:
    assert units(ip) == expected


def test_strangers_who_guess_at_a_name_do_not_lock_out_its_owner(guesses: Guesses) -> None:
    guesses.right(HOME, ALICE)
    for number in range(12):
        guesses.wrong(f"203.0.{number}.1", ALICE)
    assert guesses.standing("198.51.100.5", ALICE).shut_out == "account"
    assert guesses.standing(HOME, ALICE) == guesses.standing(HOME, ALICE)
    owner = guesses.standing(HOME, ALICE)
    assert (owner.shut_out, owner.wait) == ("", 0)


def test_who_is_known_is_still_counted_himself(guesses: Guesses) -> None:
    guesses.right(HOME, ALICE)
    assert fail(guesses, 4, HOME) == [f"pair {HOME} {ALICE}"]
    assert guesses.standing(HOME, ALICE).shut_out == "pair"
    assert not guesses.standing(HOME, "bob@example.org").shut_out, "others in his house do not suffer"


def test_one_in_the_house_who_guesses_does_not_shut_out_the_known(guesses: Guesses) -> None:
    guesses.right(HOME, ALICE)
    fail(guesses, 4, HOME, "bob@example.org")
    assert guesses.standing(HOME, "carol@example.org").shut_out == "address"
    assert not guesses.standing(HOME, ALICE).shut_out


def test_the_right_password_forgets_the_pairs_failures(guesses: Guesses) -> None:
    guesses.right(HOME, ALICE)
    fail(guesses, 3, HOME)
    guesses.right(HOME, ALICE)
    assert guesses.standing(HOME, ALICE).wait == 0


def test_a_stranger_who_is_right_once_does_not_wipe_his_guesses_at_others(guesses: Guesses) -> None:
    """Or whoever has an account here could guess at the others for ever."""
    fail(guesses, 3, AWAY, "bob@example.org")
    guesses.right(AWAY, ALICE)
    assert guesses.standing(AWAY, "bob@example.org").wait == 2
    fail(guesses, 1, AWAY, "bob@example.org")
    assert guesses.standing(AWAY, "bob@example.org").shut_out


def test_exempt_networks_are_not_counted_but_pairs_are(tmp_path: Path) -> None:
    settings = replace(SETTINGS, exempt=(ipaddress.ip_network("192.0.2.0/24"),))
    guesses = Guesses(tmp_path / "limits.db", settings, ManualClock())
    fail(guesses, 4, HOME)
    assert guesses.standing(HOME, ALICE).shut_out == "pair"
    assert not guesses.standing(HOME, "bob@example.org").shut_out
    guesses.close()


def test_another_process_clears_and_it_holds_at_once(guesses: Guesses, tmp_path: Path, clock: ManualClock) -> None:
    fail(guesses, 4)
    other = Guesses(tmp_path / "limits.db", clock=clock)
    assert other.failures()[0].until > clock.now()
    assert other.clear(AWAY) == 2  # the address, and its pair
    other.close()
    assert not guesses.standing(AWAY, ALICE).shut_out


def test_a_limit_of_0_is_none(tmp_path: Path) -> None:
    guesses = Guesses(tmp_path / "limits.db", GuessSettings(0, 0, 0), ManualClock())
    assert fail(guesses, 50) == []
    assert guesses.standing(AWAY, ALICE) == guesses.standing(AWAY, ALICE)
    assert (guesses.standing(AWAY, ALICE).shut_out, guesses.standing(AWAY, ALICE).wait) == ("", 0)
    guesses.close()
