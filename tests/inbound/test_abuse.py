"""The gates against abuse, at the wire: who is refused, with which words, and who is left alone.

The house of these tests is open on 0.0.0.0, as on the open network; a client's address is what its wire says. Names are
asked of a name server of the test's own, and time passes by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from entrances import House, Wire
from glasspost.errors import ConfigurationError
from glasspost.inbound.buckets import Buckets, wait_words
from glasspost.inbound.gates import STEPS
from glasspost.inbound.rules import RuleBook, read_rule
from glasspost.mail.address import Address
from glasspost.testing import Fault, ManualClock, Nameserver

STRANGER = "192.0.2.7"
OPEN = "0.0.0.0"
QUIET = ('checks.reverse_name = "off"', 'checks.hello = "off"')
HELLO = b"EHLO client.example\r\n"
SEND = HELLO + b"MAIL FROM:<dave@client.example>\r\nRCPT TO:<alice@example.test>\r\n"


@pytest.fixture
async def names() -> AsyncIterator[Nameserver]:
    async with Nameserver() as server:
        yield server


def asks(names: Nameserver) -> str:
    return f'dns.servers = ["127.0.0.1:{names.servers[0][1]}"]'


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - whatever it is that changes
            await asyncio.sleep(0)


class Caller:
    """A client at some address: says a line, hears the reply, and sees what is noted about it."""

    def __init__(self, house: House, ip: str = STRANGER) -> None:
        self.wire = Wire(house.session(), ip)
        self.notes: list[str] = []
        self.wire.session._client.note = self.notes.append

    def replies(self) -> list[str]:
        return [line for line in self.wire.said.decode().split("\r\n") if line[3:4] == " "]

    async def hear(self, count: int = 1) -> str:
        """The newest reply, once there are so many."""
        await until(lambda: len(self.replies()) >= count)
        return self.replies()[-1]

    async def say(self, lines: bytes) -> str:
        """The reply to the last of these lines."""
        before = len(self.replies())
        self.wire.feed(lines)
        return await self.hear(before + lines.count(b"\r\n"))

    async def recipients(self, *addresses: str, sender: str = "dave@client.example") -> list[str]:
        await self.hear()
        await self.say(HELLO + f"MAIL FROM:<{sender}>\r\n".encode())
        return [await self.say(f"RCPT TO:<{address}>\r\n".encode()) for address in addresses]


# --- what it costs ------------------------------------------------------------------------------------------------


async def test_by_default_a_listener_on_loopback_has_no_gates(entrance) -> None:
    house: House = await entrance()
    assert not house.entrance.gates.watched


async def test_by_default_an_open_listener_asks_few_gates_and_each_only_at_its_steps(entrance) -> None:
    house: House = await entrance(address=OPEN)
    counted = {step: len(house.entrance.gates._steps[step]) for step in STEPS}
    assert counted == {
        "connected": 3, "greeted": 1, "sender": 1, "recipient": 1, "data": 0, "message": 0, "refused": 1,
        "accepted": 0, "forgotten": 0, "left": 2,
    }  # fmt: skip


# --- rules --------------------------------------------------------------------------------------------------------


async def test_a_denied_client_hears_so_instead_of_the_greeting(entrance) -> None:
    house: House = await entrance('checks.rules = ["deny client 192.0.2.0/24 old story"]', *QUIET, address=OPEN)
    caller = Caller(house)
    assert (await caller.hear()).startswith("554 5.7.1 192.0.2.7: refused by the rules of this server [c0")
    assert (await Caller(house, "192.0.3.7").hear()).startswith("220 ")


async def test_the_most_exact_rule_wins() -> None:
    lines = (
        "deny sender .spam.example", "allow sender news.spam.example", "deny sender bad@news.spam.example",
        "deny client 192.0.2.0/24", "allow client 192.0.2.128/25", "deny sender <>",
    )  # fmt: skip
    book = RuleBook(read_rule(line, "here") for line in lines)

    def allows(about: str, address: str) -> bool | None:
        local, _, domain = address.partition("@")
        rule = book.name(about, Address(local, domain) if address else None)
        return None if rule is None else rule.allows

    assert allows("sender", "x@spam.example") is None, "a dot means what is below"
    assert allows("sender", "x@a.b.spam.example") is False
    assert allows("sender", "x@news.spam.example") is True
    assert allows("sender", "Bad@NEWS.spam.example") is False
    assert allows("sender", "") is False
    assert allows("recipient", "x@a.spam.example") is None
    verdicts = [book.client(ip) for ip in ("192.0.2.7", "192.0.2.200", "::ffff:192.0.2.7", "2001:db8::1")]
    assert [rule and rule.allows for rule in verdicts] == [False, True, False, None]


async def test_a_denied_sender_may_still_write_to_the_postmaster(entrance) -> None:
    rules = 'checks.rules = ["deny sender client.example", "deny recipient bob@example.test"]'
    house: House = await entrance(rules)  # rules about names hold for known networks, too
    first, second = await Caller(house).recipients("alice@example.test", "postmaster@example.test")
    assert first.startswith("550 5.7.1 <dave@client.example>: this server takes no mail from this sender")
    assert second.startswith("250 ")
    (third,) = await Caller(house).recipients("bob@example.test", sender="eve@elsewhere.test")
    assert third.startswith("550 5.7.1 <bob@example.test>: this address takes no mail")


async def test_a_denied_recipient_has_no_back_door_by_a_detail(entrance) -> None:
    rules = 'checks.rules = ["deny recipient bob@example.test", "allow recipient bob+shop@example.test"]'
    said = await Caller(await entrance(rules)).recipients(
        "bob@example.test", "BOB+x@example.test", "bob+shop@example.test", "alice+bob@example.test"
    )
    assert [line[:9] for line in said] == ["550 5.7.1", "550 5.7.1", "250 2.1.5", "250 2.1.5"]


async def test_a_rule_file_is_read_again_when_it_changes_and_a_mistake_changes_nothing(
    entrance, tmp_path: Path
) -> None:
    path, clock = tmp_path / "rules.txt", ManualClock()
    path.write_text("# nothing yet\n")
    house: House = await entrance(f'checks.rule_files = ["{path}"]', *QUIET, address=OPEN, clock=clock)
    assert (await Caller(house).hear()).startswith("220 ")
    path.write_text("deny client 192.0.2.7\n")
    clock.advance(60)
    assert (await Caller(house).hear()).startswith("554 ")
    path.write_text("deny everybody, always\n")
    clock.advance(60)
    assert (await Caller(house).hear()).startswith("554 ")
    assert (await Caller(house, "192.0.2.8").hear()).startswith("220 ")
    with pytest.raises(ConfigurationError, match=r"rules\.txt"):
        await entrance(f'checks.rule_files = ["{path}"]')


# --- limits -------------------------------------------------------------------------------------------------------


def test_a_bucket_fills_up_evenly_and_memory_is_bounded() -> None:
    clock = ManualClock()
    buckets = Buckets((6, 60.0), clock, kept=3)
    assert [buckets.take("a") for _ in range(7)] == [0.0] * 6 + [10.0]
    clock.advance(10)
    assert buckets.take("a") == 0.0
    clock.advance(-3_600)
    assert 0 < buckets.take("a") <= 20.0, "a clock that is set back locks nobody out"
    for key in "bcde":
        buckets.take(key)
    assert len(buckets) == 3
    assert [wait_words(seconds) for seconds in (0.2, 90, 91, 5400, 5401)] == ["1 s", "90 s", "2 min", "90 min", "2 h"]


async def test_too_many_connections_from_one_address_or_network(entrance) -> None:
    clock = ManualClock()
    limits = ('limits.connections = "2/min"', 'limits.network_connections = "4/min"')
    house: House = await entrance(*limits, *QUIET, address=OPEN, clock=clock)

    async def greeting(ip: str) -> str:
        return (await Caller(house, ip).hear())[:70]

    assert [(await greeting(STRANGER))[:3] for _ in range(2)] == ["220", "220"]
    assert await greeting(STRANGER) == "421 4.7.0 Too many connections from your address lately; try again in 30 s"[:70]
    assert [(await greeting("192.0.2.8"))[:3] for _ in range(2)] == ["220", "220"]
    assert (await greeting("192.0.2.9")).startswith("421 4.7.0 Too many connections from your network")
    assert (await greeting("127.0.0.1")).startswith("220"), "a known network"
    clock.advance(30)
    assert (await greeting(STRANGER)).startswith("220")


async def test_who_guesses_at_addresses_is_sent_away_for_a_while(entrance) -> None:
    clock = ManualClock()
    house: House = await entrance('limits.unknown_recipients = "3/h"', *QUIET, address=OPEN, clock=clock)
    caller = Caller(house)
    said = await caller.recipients(*(f"guess{number}@example.test" for number in range(4)))
    assert [line[:9] for line in said] == ["550 5.1.1"] * 3 + ["421 4.7.0"]
    await until(lambda: caller.wire.closed)
    assert (await Caller(house).hear()).startswith("421 4.7.0 Too many errors from your address lately")
    clock.advance(1_200)
    assert (await Caller(house).hear()).startswith("220")


async def test_who_guesses_by_senders_is_sent_away_as_well(entrance) -> None:
    """Refusing senders of ours who do not exist tells who does exist: no more often than recipients tell it."""
    house: House = await entrance('limits.unknown_recipients = "3/h"', *QUIET, address=OPEN, clock=ManualClock())
    caller = Caller(house)
    await caller.hear()
    await caller.say(HELLO)
    said = [await caller.say(f"MAIL FROM:<guess{number}@example.test>\r\n".encode()) for number in range(4)]
    assert [line[:9] for line in said] == ["550 5.1.0"] * 3 + ["421 4.7.0"]
    assert (await Caller(house).hear()).startswith("421 4.7.0 Too many errors from your address lately")


async def test_mistakes_count_across_connections(entrance) -> None:
    house: House = await entrance('limits.mistakes = "4/h"', *QUIET, address=OPEN, clock=ManualClock())
    for _ in range(2):
        caller = Caller(house)
        await caller.say(b"HALLO\r\nHALLO\r\n")
        caller.wire.close()
        await asyncio.sleep(0)
    assert (await Caller(house).hear()).startswith("421 4.7.0 Too many errors")


async def test_rates_of_messages_and_recipients_ask_to_come_later(entrance) -> None:
    limits = ('limits.messages = "2/h"', 'limits.recipients = "2/h"')
    house: House = await entrance(*limits, *QUIET, address=OPEN, clock=ManualClock())
    caller = Caller(house)
    said = await caller.recipients("alice@example.test", "bob@example.test", "team@example.test")
    assert [line[:9] for line in said] == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]
    await caller.say(b"RSET\r\nMAIL FROM:<a@client.example>\r\nRSET\r\n")
    refusal = await caller.say(b"MAIL FROM:<a@client.example>\r\n")
    assert refusal.startswith("450 4.7.1 Too many messages from your address lately; try again in 30 min [c0")


# --- pregreet and tarpit ------------------------------------------------------------------------------------------


async def test_who_talks_before_the_greeting_is_sent_away(entrance) -> None:
    clock = ManualClock()
    house: House = await entrance('checks.pregreet = "4 s"', *QUIET, address=OPEN, clock=clock)
    early, patient = Caller(house), Caller(house, "192.0.2.8")
    early.wire.feed(HELLO)
    await clock.passed(3)
    assert early.wire.said == patient.wire.said == b""
    await clock.passed(1)
    assert (await early.hear()).startswith("554 5.5.1 You spoke before the greeting; wait for the 220")
    assert (await patient.hear()).startswith("220")
    assert (await Caller(house, "192.0.2.8").hear()).startswith("220"), "who has waited once is greeted at once"
    assert (await Caller(house, "127.0.0.1").hear()).startswith("220"), "and so is a known network"


async def test_a_tarpit_lets_refusals_wait_longer_each_time(entrance) -> None:
    clock = ManualClock()
    house: House = await entrance('limits.tarpit = "5 s"', *QUIET, address=OPEN, clock=clock)
    caller = Caller(house)
    await caller.recipients("guess@example.test")
    for seconds in (5, 10):
        before = len(caller.replies())
        caller.wire.feed(b"RCPT TO:<guess@example.test>\r\n")
        await clock.passed(seconds - 1)
        assert len(caller.replies()) == before
        await clock.passed(1)
        assert (await caller.hear(before + 1)).startswith("550 5.1.1")
    assert caller.notes == [f"tarpit: this refusal waits {seconds} s" for seconds in (5, 10)]


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("laptop", "a full name has a dot in it"),
        ("192.0.2.7", "an address stands in brackets: [192.0.2.1]"),
        ("[192.0.2.8]", "that is not your address"),
        ("[192.0.2.7]", ""),
        ("mail.example.test", "that name is ours"),
        ("Example.Test", "that name is ours"),
        ("client.example", ""),
    ],
)
async def test_a_hello_name_that_cannot_be_right(entrance, name: str, fault: str) -> None:
    noting: House = await entrance('checks.reverse_name = "off"', address=OPEN)
    caller = Caller(noting)
    assert (await caller.say(f"EHLO {name}\r\n".encode())).startswith("250")
    assert caller.notes == ([f"hello: {fault}"] if fault else [])
    strict: House = await entrance('checks.hello = "refuse"', 'checks.reverse_name = "off"', address=OPEN)
    said = await Caller(strict).say(f"EHLO {name}\r\n".encode())
    assert said.startswith(f"550 5.7.1 The name in EHLO or HELO is not taken: {fault}" if fault else "250")


@pytest.mark.parametrize("ip", ["192.0.2.7", "::ffff:192.0.2.7"])
@pytest.mark.parametrize("literal", ["[192.0.2.7]", "[IPv6:::ffff:192.0.2.7]"])
async def test_an_address_in_brackets_is_the_same_in_either_dress(entrance, ip: str, literal: str) -> None:
    """A socket for both families calls an IPv4 client ::ffff:192.0.2.7; the client does not know of that."""
    house: House = await entrance('checks.reverse_name = "off"', address=OPEN)
    caller = Caller(house, ip)
    assert (await caller.say(f"EHLO {literal}\r\n".encode())).startswith("250")
    assert caller.notes == []


async def test_reverse_dns_must_lead_back(entrance, names: Nameserver) -> None:
    names.add("7.2.0.192.in-addr.arpa", "PTR", "mx.client.example.")
    names.add("mx.client.example", "A", "192.0.2.7")
    names.add("8.2.0.192.in-addr.arpa", "PTR", "mx.client.example.")
    names.fail("9.2.0.192.in-addr.arpa", Fault.SERVFAIL)
    house: House = await entrance('checks.reverse_name = "refuse"', asks(names), address=OPEN)
    heard = {end: await Caller(house, f"192.0.2.{end}").hear() for end in (7, 8, 9, 10)}
    assert heard[7].startswith("220")
    assert heard[8].startswith("550 5.7.25 Your address has no confirmed name in the DNS: the name mx.client.example")
    assert heard[9].startswith("450 4.7.25"), "a name server that fails says nothing about the client"
    assert heard[10].startswith("550 5.7.25 Your address has no confirmed name in the DNS: the address has no name")


async def test_by_default_reverse_dns_is_noted_and_nobody_waits_for_it(entrance, names: Nameserver) -> None:
    names.add("7.2.0.192.in-addr.arpa", "PTR", "mx.client.example.")
    names.add("mx.client.example", "A", "192.0.2.7")
    house: House = await entrance(asks(names), address=OPEN)
    with names.holding():
        caller = Caller(house)
        assert caller.wire.said.startswith(b"220 ")
        async with asyncio.timeout(20):
            await names.heard("7.2.0.192.in-addr.arpa", "PTR")
    await until(lambda: caller.notes)
    assert caller.notes == ["reverse DNS: mx.client.example, confirmed"]


# --- senders nobody could tell ------------------------------------------------------------------------------------


async def test_a_report_has_one_recipient_and_an_own_sender_exists(entrance) -> None:
    house: House = await entrance(*QUIET, address=OPEN)
    said = await Caller(house).recipients("alice@example.test", "bob@example.test", sender="")
    assert [line[:9] for line in said] == ["250 2.1.5", "452 4.5.3"]
    caller = Caller(house)
    await caller.say(HELLO)
    forged = await caller.say(b"MAIL FROM:<ceo@example.test>\r\n")
    assert forged.startswith("550 5.1.0 <ceo@example.test>: nobody here has this address to send from")
    assert (await caller.say(b"MAIL FROM:<alice@example.test>\r\n")).startswith("250")


async def test_a_senders_domain_that_takes_no_mail(entrance, names: Nameserver) -> None:
    names.add("client.example", "MX", "10 mx.client.example.")
    names.add("null.example", "MX", "0 .")
    names.fail("down.example", Fault.SERVFAIL)
    house: House = await entrance('checks.sender_domain = "refuse"', *QUIET, asks(names), address=OPEN)
    said = {}
    for domain in ("client.example", "null.example", "down.example", "no.example"):
        caller = Caller(house)
        await caller.say(HELLO)
        said[domain] = (await caller.say(f"MAIL FROM:<dave@{domain}>\r\n".encode()))[:9]
    assert said == {
        "client.example": "250 2.1.0", "null.example": "550 5.1.8", "down.example": "451 4.1.8",
        "no.example": "550 5.1.8",
    }  # fmt: skip


# --- lists and greylisting ----------------------------------------------------------------------------------------

LISTS = (
    '[[dns_list]]\ndomain = "bad.example"\nscore = 3',
    '[[dns_list]]\ndomain = "maybe.example"\nscore = 2\nanswers = ["127.0.0.4"]',
    '[[dns_list]]\ndomain = "good.example"\nscore = -2',
)


async def test_dns_lists_add_up_and_the_refusal_names_the_list_and_its_reason(entrance, names: Nameserver) -> None:
    for end, domain, answer in ((7, "bad", 2), (8, "bad", 2), (8, "good", 1), (9, "maybe", 4), (10, "maybe", 9)):
        names.add(f"{end}.2.0.192.{domain}.example", "A", f"127.0.0.{answer}")
    names.add("7.2.0.192.bad.example", "TXT", '"seen sending spam, see bad.example/7."')
    names.add("11.2.0.192.bad.example", "A", "127.255.255.254")
    house: House = await entrance(*QUIET, asks(names), *LISTS, address=OPEN)
    caller = Caller(house)
    alice, postmaster, again = await caller.recipients(
        "alice@example.test", "postmaster@example.test", "alice@example.test"
    )
    assert alice.startswith("550 5.7.1 192.0.2.7 is on the list bad.example: seen sending spam, see bad.example/7 [c0")
    assert postmaster.startswith("250")
    assert again[:30] == alice[:30]
    assert names.asked("7.2.0.192.bad.example", "A") == 1
    assert caller.notes == ["DNS list bad.example: 127.0.0.2, score +3"]
    for end in (8, 9, 10, 11):
        other = Caller(house, f"192.0.2.{end}")
        assert (await other.recipients("alice@example.test"))[0].startswith("250"), end
    assert other.notes == ["DNS list bad.example does not answer us: 127.255.255.254"]


async def test_a_dns_list_that_is_silent_costs_a_bounded_time_and_nothing_else(entrance, names: Nameserver) -> None:
    names.fail("7.2.0.192.bad.example", Fault.SILENCE)
    house: House = await entrance("checks.dns_timeout = 0.05", *QUIET, asks(names), LISTS[0], address=OPEN)
    caller = Caller(house)
    assert (await caller.recipients("alice@example.test"))[0].startswith("250")
    assert caller.notes == ["DNS list bad.example: no answer within 0.05 s"]


async def test_greylisting_asks_once_and_a_network_that_comes_through_is_known(entrance) -> None:
    clock = ManualClock()
    settings = ("greylist.enabled = true", "greylist.known_after = 2", *QUIET)
    house: House = await entrance(*settings, address=OPEN, clock=clock)
    greylist = house.gatehouse._greylist
    assert greylist is not None

    async def tried(ip: str, recipient: str = "alice@example.test") -> str:
        (said,) = await Caller(house, ip).recipients(recipient)
        await greylist.written()
        return said

    said = await tried(STRANGER)
    assert said.startswith("451 4.7.1 Greylisted: we do not know each other yet; try again in 5 min [c0")
    assert (await tried(STRANGER, "postmaster@example.test")).startswith("250")
    clock.advance(100)
    assert "try again in 4 min" in await tried("192.0.2.99"), "a neighbour of the same network is the same client"
    clock.advance(200)
    assert (await tried("192.0.2.99")).startswith("250")
    assert (await tried(STRANGER)).startswith("250")
    assert (await tried(STRANGER, "bob@example.test")).startswith("451")
    clock.advance(300)
    assert (await tried(STRANGER, "bob@example.test")).startswith("250")
    assert (await tried(STRANGER, "team@example.test")).startswith("250"), "known as a whole now"
    assert (await tried("192.0.3.7", "team@example.test")).startswith("451")
    assert (await tried("127.0.0.1", "team@example.test")).startswith("250")
    clock.advance(40 * 86_400)
    assert (await tried(STRANGER)).startswith("451"), "forgotten"


async def test_the_example_of_the_docs_holds(entrance) -> None:
    page = (Path(__file__).parents[2] / "docs" / "abuse.md").read_text(encoding="utf-8")
    toml = page.partition("```toml\n")[2].partition("```")[0]
    house: House = await entrance(toml, address=OPEN)
    assert len(house.entrance.gates._steps["connected"]) == 4, "rules, rates, pregreet, reverse name"
    rules = page.partition("configuration file")[0].partition("they change:\n\n```\n")[2].partition("```")[0]
    assert len([read_rule(line, "the page") for line in rules.splitlines()]) == 7
