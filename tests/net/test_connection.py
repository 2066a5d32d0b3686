"""A connection's deadline: one lazy alarm, however often the deadline moves (net/connection.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from glasspost.net.connection import Connection


class Alarm:
    """A call that the loop below was asked for."""

    def __init__(self, at: float, call: Callable[[], object]) -> None:
        self.at = at
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """As much of an event loop as a deadline needs, with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.alarms: list[Alarm] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], object]) -> Alarm:
        self.alarms.append(Alarm(self.now + seconds, call))
        return self.alarms[-1]

    def pass_to(self, moment: float) -> None:
        """Let time pass until so many seconds after the beginning; alarms go off on the way."""
        while due := [one for one in self.alarms if one.call is not None and one.at <= 1000.0 + moment]:
            first = min(due, key=lambda one: one.at)
            self.now, call = first.at, first.call
            first.cancel()
            assert call is not None
            call()
        self.now = 1000.0 + moment


class Watched(Connection):
    """Takes down when its deadline passed."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(cast(asyncio.AbstractEventLoop, loop))
        self.transport = cast(Any, object())
        self.passed: list[float] = []

    def deadline_passed(self) -> None:
        self.passed.append(self.loop.time() - 1000.0)


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_a_deadline_that_comes_nearer_needs_no_second_alarm_and_is_kept(loop: Loop) -> None:
    connection = Watched(loop)
    connection.set_deadline(300)
    connection.set_deadline(180)
    assert len(loop.alarms) == 1
    loop.pass_to(179)
    assert not connection.passed
    loop.pass_to(400)
    assert connection.passed == [180]


@pytest.mark.parametrize("seconds", [0.5, 10, 60, 61, 3600])
def test_a_deadline_passes_when_it_was_set_to(loop: Loop, seconds: float) -> None:
    connection = Watched(loop)
    connection.set_deadline(seconds)
    loop.pass_to(2 * seconds)
    assert connection.passed == [seconds]


def test_a_much_nearer_deadline_is_kept_as_well(loop: Loop) -> None:
    connection = Watched(loop)
    connection.set_deadline(300)
    connection.set_deadline(5)
    loop.pass_to(100)
    assert connection.passed == [5]


def test_each_move_puts_it_off(loop: Loop) -> None:
    connection = Watched(loop)
    for moment in range(0, 1000, 100):
        loop.pass_to(moment)
        connection.set_deadline(300)
    loop.pass_to(2000)
    assert connection.passed == [1200]


def test_no_deadline_passes_while_we_owe_the_next_move(loop: Loop) -> None:
    connection = Watched(loop)
    connection.set_deadline(10)
    connection.no_deadline()
    loop.pass_to(500)
    assert not connection.passed
    connection.set_deadline(10)
    loop.pass_to(1000)
    assert connection.passed == [510]


def test_an_idle_connection_looks_at_the_clock_twice(loop: Loop) -> None:
    connection = Watched(loop)
    connection.set_deadline(3600)
    loop.pass_to(3599)
    assert len(loop.alarms) == 2
    connection.connection_lost(None)
    loop.pass_to(8000)
    assert not connection.passed
