"""The stand-ins themselves: a clock that is moved by hand, and a small DNS, asked in its own words."""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import pytest

from glasspost.testing import Fault, ManualClock, Nameserver

# --- ManualClock ----------------------------------------------------------------------------------------------


def test_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(1000.0)
    assert clock.now() == clock.now() == 1000.0
    clock.advance(5.5)
    assert clock.now() == 1005.5


def test_alarms_go_off_in_order_each_at_its_own_moment() -> None:
    clock = ManualClock(0.0)
    rung: list[tuple[str, float]] = []
    for name, seconds in [("late", 30), ("early", 10), ("also early", 10), ("at once", -1), ("not yet", 31)]:
        clock.call_in(seconds, lambda name=name: rung.append((name, clock.now())))
    assert rung == []
    clock.advance(30)
    assert rung == [("at once", 0.0), ("early", 10.0), ("also early", 10.0), ("late", 30.0)]
    assert (clock.now(), clock.next_alarm) == (30.0, 31.0)


def test_an_alarm_may_set_the_next_one() -> None:
    clock = ManualClock(0.0)
    rung: list[float] = []

    def ring() -> None:
        rung.append(clock.now())
        clock.call_in(10, ring)

    clock.call_in(10, ring)
    clock.advance(35)
    assert rung == [10.0, 20.0, 30.0]


def test_an_alarm_can_be_called_off() -> None:
    clock = ManualClock()
    alarm = clock.call_in(1, lambda: pytest.fail("it was called off"))
    alarm.cancel()
    assert clock.next_alarm is None
    clock.advance(2)


async def test_passed_lets_tasks_run_between_alarms() -> None:
    clock = ManualClock(0.0)
    seen: list[float] = []

    async def wait(seconds: float) -> None:
        rung = asyncio.get_running_loop().create_future()
        clock.call_in(seconds, lambda: rung.set_result(None))
        await rung

    async def twice() -> None:
        for _ in range(2):
            await wait(10)  # set only once the task has run on after the alarm before
            seen.append(clock.now())

    task = asyncio.create_task(twice())
    await clock.passed(25)
    assert seen == [10.0, 20.0]
    assert task.done() and clock.now() == 25.0


# --- Nameserver -----------------------------------------------------------------------------------------------


async def ask(server: Nameserver, name: str, kind: str, *, over_tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    host, port = server.servers[0]
    way = dns.asyncquery.tcp if over_tcp else dns.asyncquery.udp
    return await way(query, host, port=port, timeout=5)


def records(message: dns.message.Message) -> list[str]:
    """Lower case: compressed names carry on the case in which the question was asked."""
    return [f"{rrset.name} {rrset.ttl} {record}".lower() for rrset in message.answer for record in rrset]


@pytest.mark.parametrize("over_tcp", [False, True], ids=["udp", "tcp"])
async def test_a_zone_as_text_and_as_a_mapping(over_tcp: bool) -> None:
    for zone in (
        "# a comment\n\nexample.test MX 10 mx.example.test\nexample.test. MX 5 other.test.  # more",
        {("example.test", "MX"): ["10 mx.example.test", "5 other.test."]},
    ):
        async with Nameserver(zone, ttl=77) as server:
            answer = await ask(server, "Example.Test", "MX", over_tcp=over_tcp)
            assert records(answer) == [
                "example.test. 77 10 mx.example.test.",
                "example.test. 77 5 other.test.",
            ]
            assert server.asked("example.test", "MX", "tcp" if over_tcp else "udp") == 1
            assert server.asked("example.test") == 1
            assert server.asked("example.test", "A") == server.asked("other.test") == 0


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("www.example.test", dns.rcode.NOERROR),  # has an A, no MX
        ("example.test", dns.rcode.NOERROR),  # has nothing but names below it
        ("nowhere.test", dns.rcode.NXDOMAIN),
        ("below.www.example.test", dns.rcode.NXDOMAIN),
        ("alias.test", dns.rcode.NXDOMAIN),  # the alias is there, its end is not (RFC 2308 §2.1)
    ],
)
async def test_two_kinds_of_nothing(name: str, rcode: int) -> None:
    async with Nameserver("www.example.test A 127.0.0.1\nalias.test CNAME gone.test", negative_ttl=7) as server:
        answer = await ask(server, name, "MX")
        assert answer.rcode() == rcode
        soa = answer.authority[0]
        assert (soa.ttl, soa[0].minimum) == (7, 7)


async def test_a_wrong_record_is_refused_when_it_is_written() -> None:
    with pytest.raises(dns.exception.DNSException):
        Nameserver("example.test MX ten mx.example.test")


async def test_records_come_and_go() -> None:
    async with Nameserver() as server:
        server.add("a.test", "A", "127.0.0.1", "127.0.0.2")
        assert len(records(await ask(server, "a.test", "A"))) == 2
        server.remove("a.test", "A")
        assert (await ask(server, "a.test", "A")).rcode() == dns.rcode.NXDOMAIN


async def test_faults_are_per_name_and_per_type_and_end() -> None:
    async with Nameserver("a.test A 127.0.0.1\na.test AAAA ::1") as server:
        server.fail("a.test", Fault.REFUSED, "A")
        assert (await ask(server, "a.test", "A")).rcode() == dns.rcode.REFUSED
        assert (await ask(server, "a.test", "AAAA")).rcode() == dns.rcode.NOERROR
        server.fail("a.test", None, "A")
        assert (await ask(server, "a.test", "A")).rcode() == dns.rcode.NOERROR


async def test_a_lie_has_the_wrong_id() -> None:
    async with Nameserver("a.test A 127.0.0.1") as server:
        server.fail("a.test", Fault.LIE)
        with pytest.raises(dns.asyncquery.BadResponse):
            await ask(server, "a.test", "A")


async def test_without_edns_a_datagram_has_at_most_512_octets() -> None:
    async with Nameserver({("a.test", "A"): [f"127.0.1.{number}" for number in range(100)]}) as server:
        cut = await ask(server, "a.test", "A")
        assert cut.flags & dns.flags.TC
        assert len(cut.to_wire()) <= 512
        whole = await ask(server, "a.test", "A", over_tcp=True)
        assert not whole.flags & dns.flags.TC
        assert len(records(whole)) == 100


async def test_noise_is_not_answered_and_breaks_nothing() -> None:
    async with Nameserver("a.test A 127.0.0.1") as server:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=server.servers[0])
        transport.sendto(b"noise")
        transport.close()
        assert records(await ask(server, "a.test", "A")) == ["a.test. 300 127.0.0.1"]
