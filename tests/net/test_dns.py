"""The resolver, asked over real sockets, against the name server of `glasspost.testing`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import dns.flags
import dns.message
import pytest
import uvloop

from glasspost.net.dns import Found, Mx, NoData, NoSuchName, Resolver, Trouble
from glasspost.testing import Fault, ManualClock, Nameserver

ZONE = """
    example.test            MX     10 mx1.example.test
    example.test            MX     20 MX2.Example.Test.
    example.test            TXT    "v=spf1 mx" " -all"
    example.test            TXT    "something else"
    mx1.example.test        A      192.0.2.1
    mx1.example.test        A      192.0.2.2
    mx1.example.test        AAAA   2001:db8::1
    v4.example.test         A      192.0.2.4
    nomail.test             MX     0 .
    alias.test              CNAME  inner.alias.test     # two steps to the end
    inner.alias.test        CNAME  example.test
    dangling.test           CNAME  gone.test
    ring-a.test             CNAME  ring-b.test
    ring-b.test             CNAME  ring-a.test
    xn--bcher-kva.test      MX     10 mx1.example.test
    1.2.0.192.in-addr.arpa  PTR    mx1.example.test
    1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.example.test
"""
EXAMPLE_MX = Found((Mx(10, "mx1.example.test"), Mx(20, "mx2.example.test")))


@pytest.fixture
async def nameserver() -> AsyncIterator[Nameserver]:
    async with Nameserver(ZONE, ttl=300, negative_ttl=60) as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def resolver(nameserver: Nameserver, clock: ManualClock) -> Resolver:
    return Resolver(nameserver.servers, timeout=5, clock=clock)


def hasty(nameserver: Nameserver) -> Resolver:
    """A resolver for questions that will not be answered."""
    return Resolver(nameserver.servers, timeout=0.15)


def patient(nameserver: Nameserver) -> Resolver:
    """A resolver for questions that will be answered, however long a loaded machine takes."""
    return Resolver(nameserver.servers, timeout=60)


Question = Callable[[Resolver], Awaitable[object]]

ANSWERS: list[tuple[str, Question, object]] = [
    ("MX, lower case, no last dot", lambda r: r.mx("example.test"), EXAMPLE_MX),
    ("upper case and last dot do not matter", lambda r: r.mx("EXAMPLE.Test."), EXAMPLE_MX),
    ("U-labels are A-labels to the DNS", lambda r: r.mx("Bücher.test"), Found((Mx(10, "mx1.example.test"),))),
    ("a null MX is a host without a name", lambda r: r.mx("nomail.test"), Found((Mx(0, ""),))),
    ("a CNAME chain is followed", lambda r: r.mx("alias.test"), EXAMPLE_MX),
    ("a chain to a name that is not there", lambda r: r.mx("dangling.test"), NoSuchName()),
    ("no such name", lambda r: r.mx("nowhere.test"), NoSuchName()),
    ("a name without this type", lambda r: r.mx("v4.example.test"), NoData()),
    ("a name that only has names below it", lambda r: r.mx("inner.alias.test"), EXAMPLE_MX),
    ("an empty non-terminal exists", lambda r: r.mx("0.192.in-addr.arpa"), NoData()),
    ("a label over 63 octets cannot exist", lambda r: r.mx("a" * 64 + ".test"), NoSuchName()),
    ("nor can an empty one", lambda r: r.mx("a..test"), NoSuchName()),
    ("nor what IDNA cannot write", lambda r: r.mx("☃" * 60 + ".test"), NoSuchName()),
    (
        "IPv6 before IPv4",
        lambda r: r.addresses("mx1.example.test"),
        Found(("2001:db8::1", "192.0.2.1", "192.0.2.2")),
    ),
    ("IPv4 only", lambda r: r.addresses("mx1.example.test", v6=False), Found(("192.0.2.1", "192.0.2.2"))),
    ("IPv6 only", lambda r: r.addresses("mx1.example.test", v4=False), Found(("2001:db8::1",))),
    ("one family is enough", lambda r: r.addresses("v4.example.test"), Found(("192.0.2.4",))),
    ("none of the family wanted", lambda r: r.addresses("v4.example.test", v4=False), NoData()),
    ("no family wanted", lambda r: r.addresses("v4.example.test", v4=False, v6=False), NoData()),
    ("no address", lambda r: r.addresses("example.test"), NoData()),
    ("no such host", lambda r: r.addresses("nowhere.test"), NoSuchName()),
    (
        "the strings of one TXT are joined",
        lambda r: r.txt("example.test"),
        Found((b"v=spf1 mx -all", b"something else")),
    ),
    ("reverse, IPv4", lambda r: r.reverse("192.0.2.1"), Found(("mx1.example.test",))),
    ("reverse, IPv6", lambda r: r.reverse("2001:db8::1"), Found(("six.example.test",))),
    ("reverse, unknown", lambda r: r.reverse("192.0.2.77"), NoSuchName()),
]


@pytest.mark.parametrize(("what", "question", "expected"), ANSWERS, ids=[what for what, _, _ in ANSWERS])
async def test_answers(what: str, question: Question, expected: object, resolver: Resolver) -> None:
    answer = await question(resolver)
    assert answer == expected


async def test_reverse_wants_an_address(resolver: Resolver) -> None:
    with pytest.raises(ValueError, match="not-an-address"):
        await resolver.reverse("not-an-address")


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST.", "smtp.localhost"])
async def test_localhost_is_this_machine_without_being_asked_for(
    name: str, resolver: Resolver, nameserver: Nameserver
) -> None:
    assert await resolver.addresses(name) == Found(("127.0.0.1", "::1"))
    assert await resolver.addresses(name, v6=False) == Found(("127.0.0.1",))
    assert await resolver.addresses(name, v4=False) == Found(("::1",))
    assert not nameserver.queries


# --- trouble is not an answer -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.SERVFAIL, "SERVFAIL"),
        (Fault.REFUSED, "REFUSED"),
        (Fault.SILENCE, "no answer within 0.15 s"),
        (Fault.LIE, "no answer within 0.15 s"),  # a forged NXDOMAIN is not believed, only waited out
    ],
)
@pytest.mark.parametrize("name", ["example.test", "nowhere.test"])
async def test_a_failing_server_says_nothing_about_the_name(
    fault: Fault, reason: str, name: str, nameserver: Nameserver
) -> None:
    nameserver.fail(name, fault)
    resolver = hasty(nameserver) if "no answer" in reason else patient(nameserver)
    assert await resolver.mx(name) == Trouble(reason)
    nameserver.fail(name, None)
    async with asyncio.timeout(60):  # and nothing of it is remembered; a hasty one may need to ask again
        while isinstance(answer := await resolver.mx(name), Trouble):
            pass
    assert answer == (EXAMPLE_MX if name == "example.test" else NoSuchName())


async def test_a_ring_of_aliases_is_trouble(nameserver: Nameserver) -> None:
    assert isinstance(await patient(nameserver).mx("ring-a.test"), Trouble)


async def test_the_next_server_is_asked_where_one_fails(nameserver: Nameserver) -> None:
    async with Nameserver() as broken:
        broken.fail("example.test", Fault.SERVFAIL)
        resolver = Resolver([*broken.servers, *nameserver.servers], timeout=5)
        assert await resolver.mx("example.test") == EXAMPLE_MX
        assert broken.asked("example.test", "MX") == 1


async def test_trouble_with_one_family_does_not_hide_the_other(nameserver: Nameserver) -> None:
    nameserver.fail("v4.example.test", Fault.SERVFAIL, "AAAA")
    assert await patient(nameserver).addresses("v4.example.test") == Found(("192.0.2.4",))


async def test_trouble_with_one_family_and_nothing_from_the_other_is_trouble(nameserver: Nameserver) -> None:
    nameserver.fail("v4.example.test", Fault.SERVFAIL, "A")
    assert await patient(nameserver).addresses("v4.example.test") == Trouble("SERVFAIL")


async def test_without_any_server_there_is_trouble_until_there_is_one(
    monkeypatch: pytest.MonkeyPatch, nameserver: Nameserver
) -> None:
    def unreadable(self: object, file: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    resolver = Resolver(None, timeout=5)
    with monkeypatch.context() as patch:
        patch.setattr("dns.resolver.BaseResolver.read_resolv_conf", unreadable)
        assert await resolver.mx("example.test") == Trouble("no name server is configured")

    def ours(self: Any, file: object) -> None:
        self.nameservers = [dns.nameserver.Do53Nameserver(*nameserver.servers[0])]

    monkeypatch.setattr("dns.resolver.BaseResolver.read_resolv_conf", ours)
    assert await resolver.mx("example.test") == EXAMPLE_MX


# --- the wire -----------------------------------------------------------------------------------------------


async def test_what_is_cut_short_is_fetched_over_tcp(resolver: Resolver, nameserver: Nameserver) -> None:
    nameserver.fail("example.test", Fault.TRUNCATE)
    assert await resolver.mx("example.test") == EXAMPLE_MX
    assert [query.transport for query in nameserver.queries] == ["udp", "tcp"]


async def test_what_is_too_large_for_a_datagram_comes_over_tcp(resolver: Resolver, nameserver: Nameserver) -> None:
    nameserver.add("large.test", "TXT", *(f'"{number:03} {"x" * 200}"' for number in range(20)))
    answer = await resolver.txt("large.test")
    assert isinstance(answer, Found) and len(answer.records) == 20
    assert nameserver.asked("large.test", transport="tcp") == 1


async def test_an_alias_that_the_server_does_not_follow_is_followed_by_us(
    resolver: Resolver, nameserver: Nameserver
) -> None:
    for name in ("alias.test", "inner.alias.test"):
        nameserver.fail(name, Fault.ALIAS_ONLY)
    assert await resolver.mx("alias.test") == EXAMPLE_MX
    assert [query.name for query in nameserver.queries] == ["alias.test", "inner.alias.test", "example.test"]


async def test_aliases_that_never_end_are_not_followed_for_ever(resolver: Resolver, nameserver: Nameserver) -> None:
    for name in ("ring-a.test", "ring-b.test"):
        nameserver.fail(name, Fault.ALIAS_ONLY)
    assert await resolver.mx("ring-a.test") == Trouble("its aliases (CNAME) do not end")
    assert len(nameserver.queries) == 8


async def test_questions_carry_edns_and_ask_for_recursion(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[dns.message.Message] = []
    async with Nameserver(ZONE) as server:
        hear = server._hear

        def listen(wire: bytes, *rest: Any) -> None:
            heard.append(dns.message.from_wire(wire))
            hear(wire, *rest)

        monkeypatch.setattr(server, "_hear", listen)
        await Resolver(server.servers, timeout=5).mx("example.test")
    assert (heard[0].edns, heard[0].payload) == (0, 1232)
    assert heard[0].flags & dns.flags.RD


async def test_both_families_are_asked_for_at_once(resolver: Resolver, nameserver: Nameserver) -> None:
    async with asyncio.timeout(5):
        with nameserver.holding():  # one after the other, the second question would never come
            asking = asyncio.create_task(resolver.addresses("mx1.example.test"))
            await nameserver.heard("mx1.example.test", "A")
            await nameserver.heard("mx1.example.test", "AAAA")
        assert isinstance(await asking, Found)


async def test_no_more_questions_than_allowed_are_on_the_wire(nameserver: Nameserver) -> None:
    resolver = Resolver(nameserver.servers, timeout=5, at_once=2)
    async with asyncio.timeout(5):
        with nameserver.holding():
            asking = [asyncio.create_task(resolver.mx(f"d{number}.test")) for number in range(6)]
            await nameserver.heard("d0.test", "MX")
            await nameserver.heard("d1.test", "MX")
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(nameserver.queries) == 2
        assert await asyncio.gather(*asking) == [NoSuchName()] * 6


# --- memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lasting"),
    [("example.test", 300), ("nowhere.test", 60), ("v4.example.test", 60)],
    ids=["records: their TTL", "no such name: the SOA's", "no data: the SOA's"],
)
async def test_answers_are_remembered_as_long_as_their_ttl(
    name: str, lasting: int, resolver: Resolver, nameserver: Nameserver, clock: ManualClock
) -> None:
    first = await resolver.mx(name)
    clock.advance(lasting - 1)
    assert await resolver.mx(name) == first
    assert nameserver.asked(name) == 1
    clock.advance(2)
    assert await resolver.mx(name) == first
    assert nameserver.asked(name) == 2


@pytest.mark.parametrize(("name", "longest"), [("example.test", 86_400), ("nowhere.test", 3_600)])
async def test_no_ttl_is_believed_beyond_reason(name: str, longest: int, clock: ManualClock) -> None:
    async with Nameserver(ZONE, ttl=10**8, negative_ttl=10**8) as server:
        resolver = Resolver(server.servers, timeout=5, clock=clock)
        await resolver.mx(name)
        clock.advance(longest + 1)
        await resolver.mx(name)
        assert server.asked(name) == 2


async def test_a_ttl_of_zero_is_not_remembered(clock: ManualClock) -> None:
    async with Nameserver(ZONE, ttl=0) as server:
        resolver = Resolver(server.servers, timeout=5, clock=clock)
        assert await resolver.mx("example.test") == await resolver.mx("example.test") == EXAMPLE_MX
        assert server.asked("example.test") == 2


async def test_no_such_name_for_one_type_says_nothing_about_another(
    resolver: Resolver, nameserver: Nameserver, clock: ManualClock
) -> None:
    """Some servers say NXDOMAIN to AAAA where there is an A (RFC 4074 §4.2); mail must not bounce for it."""
    nameserver.fail("v4.example.test", Fault.NXDOMAIN, "AAAA")
    nameserver.add("v4.example.test", "MX", "10 v4.example.test")
    for _ in range(3):
        assert await resolver.addresses("v4.example.test") == Found(("192.0.2.4",))
        clock.advance(301)
        assert await resolver.addresses("v4.example.test", v4=False) == NoSuchName()
    nameserver.remove("v4.example.test", "A")
    assert await resolver.addresses("v4.example.test") == NoData()


async def test_memory_is_bounded_and_drops_what_was_not_used_for_longest(nameserver: Nameserver) -> None:
    resolver = Resolver(nameserver.servers, timeout=5, kept=2)
    for name in ("a.test", "b.test", "a.test", "c.test", "a.test", "b.test"):
        await resolver.mx(name)
    assert [nameserver.asked(name) for name in ("a.test", "b.test", "c.test")] == [1, 2, 1]


async def test_equal_questions_in_flight_are_one(resolver: Resolver, nameserver: Nameserver) -> None:
    answers = await asyncio.gather(*(resolver.mx("example.test") for _ in range(50)))
    assert answers == [EXAMPLE_MX] * 50
    assert len(nameserver.queries) == 1


async def test_one_who_gives_up_does_not_take_the_answer_from_the_others(
    resolver: Resolver, nameserver: Nameserver
) -> None:
    async with asyncio.timeout(5):
        with nameserver.holding():
            first = asyncio.create_task(resolver.mx("example.test"))
            second = asyncio.create_task(resolver.mx("example.test"))
            await nameserver.heard("example.test", "MX")
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
        assert await second == EXAMPLE_MX
    assert len(nameserver.queries) == 1


async def test_closing_ends_what_is_in_flight(nameserver: Nameserver) -> None:
    nameserver.fail("example.test", Fault.SILENCE)
    resolver = Resolver(nameserver.servers, timeout=60)
    asking = asyncio.create_task(resolver.mx("example.test"))
    async with asyncio.timeout(5):
        await nameserver.heard("example.test", "MX")
        await resolver.close()
        with pytest.raises(asyncio.CancelledError):
            await asking


# --- around -------------------------------------------------------------------------------------------------


def test_it_works_on_uvloop() -> None:
    async def scenario() -> object:
        async with Nameserver(ZONE) as server:
            server.fail("example.test", Fault.TRUNCATE)
            server.fail("nowhere.test", Fault.SILENCE)
            return await patient(server).mx("example.test"), await hasty(server).mx("nowhere.test")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == (EXAMPLE_MX, Trouble("no answer within 0.15 s"))


def test_nothing_heavy_is_imported_before_the_first_question() -> None:
    code = (
        "import sys; from glasspost.net.dns import Resolver; Resolver(None); "
        "print([m for m in sys.modules if m == 'dns' or m.startswith('dns.')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
