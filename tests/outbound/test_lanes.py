"""Lanes: one for each destination, forgotten when there is nothing to remember."""

from __future__ import annotations

from glasspost.mail import reply as say
from glasspost.mail.envelope import BodyType, Notify, Outcome, Verdict
from glasspost.mail.reply import Reply
from glasspost.outbound.lanes import Job, Lanes, Sorting
from glasspost.outbound.routes import Host, Route
from glasspost.storage.bodies import MemoryContent
from glasspost.storage.spooled import Message, Queued
from stores import NOW, address

HOUR = 3_600.0


def route(key: str, *addresses: str) -> Route:
    return Route(key, (Host("mx.away.test", 25, addresses or ("127.0.0.1",)),), "may", False, "", "")


def message(number: int = 1) -> Message:
    content = MemoryContent(b"Hello\r\n")
    return Message(number, None, BodyType.SEVEN_BIT, False, False, "", "", content.size, NOW, "c0000000000a", content)


def test_a_lane_for_each_destination_and_one_for_the_house() -> None:
    lanes = Lanes(20)
    away = lanes.lane(route("mx:away.test"))
    assert lanes.lane(route("mx:away.test")) is away
    assert lanes.lane(route("mx:else.test")) is not away
    assert lanes.lane(None) is lanes.lane(None)
    assert [lane.key for lane in lanes] == ["mx:away.test", "mx:else.test", "local"]


def test_only_where_all_ways_of_a_message_rest_does_it_rest() -> None:
    lanes = Lanes(20)
    away, other, here = route("mx:away.test"), route("mx:other.test"), route("mx:here.test")
    for one, until in ((away, NOW + 60), (other, NOW + 90), (here, NOW)):
        lanes.lane(one).rest_until = until
    assert [lane.key for lane in lanes.at_rest([away, other, away], NOW)] == ["mx:away.test", "mx:other.test"]
    for awake in (here, route("mx:nobody.test"), None, Reply(550, "5.1.2", "No such domain")):
        assert lanes.at_rest([away, awake, other], NOW) == []
    assert lanes.at_rest([away], NOW + 60) == []


def test_a_lane_knows_the_newest_way() -> None:
    lanes = Lanes(20)
    lane = lanes.lane(route("mx:away.test", "192.0.2.1"))
    lanes.lane(route("mx:away.test", "192.0.2.2"))
    assert lane.route is not None
    assert lane.route.hosts[0].addresses == ("192.0.2.2",)


def test_lanes_without_work_are_forgotten_unless_there_is_a_rest_to_remember() -> None:
    lanes = Lanes(20)
    for key in ("idle", "busy", "working", "resting", "rested"):
        lanes.lane(route(key))
    for lane in lanes:
        match lane.key:
            case "busy":
                lane.active = 1
            case "working":
                lane.jobs.append(Job(message(), []))
            case "resting":
                lane.rest_until = NOW - HOUR / 2  # setbacks in a row count on for a while
            case "rested":
                lane.rest_until = NOW - 2 * HOUR
    lanes.sweep(NOW)
    assert [lane.key for lane in lanes] == ["busy", "working", "resting"]


def test_those_who_have_no_way_end_together_by_message() -> None:
    """A thousand recipients of one message at a domain that is gone are one report to the sender, not a thousand."""
    first, second = message(1), message(2)
    no_domain = Outcome(Verdict.FAILED, say.NO_SUCH_DOMAIN.saying(domain="gone.test"))
    sorting = Sorting(NOW)
    everybody = [
        Queued(index, whose, address(f"r{index}@gone.test"), Notify.UNSET, "")
        for index, whose in enumerate((first, second, first))
    ]
    for queued in everybody:
        sorting.end(queued, no_domain, NOW)
    assert [[queued.id for queued in ending.recipients] for ending in sorting.endings.values()] == [[0, 2], [1]]
    assert all(queued.begun for queued in everybody)
