"""How many clients may be in the house at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glasspost.inbound.limits import ConnectionLimits
from glasspost.ip import counted_as
from glasspost.mail import reply as say

HERE, THERE = "192.0.2.1", "192.0.2.2"


def test_an_address_has_its_share() -> None:
    limits = ConnectionLimits(total=10, per_address=2)
    assert limits.admit(HERE) is None
    assert limits.admit(HERE) is None
    assert limits.admit(HERE) is say.TOO_MANY_CONNECTIONS_FROM_YOU
    assert limits.admit(THERE) is None
    limits.leave(HERE)
    assert limits.admit(HERE) is None


def test_the_house_has_its_share() -> None:
    limits = ConnectionLimits(total=2, per_address=0)
    assert limits.admit(HERE) is None
    assert limits.admit(HERE) is None
    assert limits.admit(THERE) is say.TOO_MANY_CONNECTIONS
    assert limits.count == 2
    limits.leave(HERE)
    assert limits.admit(THERE) is None


def test_no_limit() -> None:
    limits = ConnectionLimits(total=0, per_address=0)
    assert {limits.admit(HERE) for _ in range(1000)} == {None}


def test_who_was_turned_away_is_not_counted() -> None:
    limits = ConnectionLimits(total=0, per_address=1)
    limits.admit(HERE)
    for _ in range(5):
        assert limits.admit(HERE) is not None
    limits.leave(HERE)
    assert limits.count == 0
    assert limits.admit(HERE) is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([HERE, THERE, "2001:db8::1", "2001:db8::2"]))))
def test_the_count_is_who_came_less_who_left(moves: list[tuple[bool, str]]) -> None:
    limits = ConnectionLimits(total=4, per_address=2)
    inside: list[str] = []
    for comes, ip in moves:
        if comes:
            same = sum(counted_as(one) == counted_as(ip) for one in inside)
            admitted = limits.admit(ip) is None
            assert admitted == (len(inside) < 4 and same < 2)
            if admitted:
                inside.append(ip)
        elif ip in inside:
            inside.remove(ip)
            limits.leave(ip)
        assert limits.count == len(inside)
    for ip in inside:
        limits.leave(ip)
    assert limits.count == 0
    assert not limits._open, "nobody is remembered who has left"
