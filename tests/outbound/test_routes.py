"""Where mail goes: one table of domains against one zone, on the real resolver."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from glasspost.mail import reply
from glasspost.mail.reply import Reply
from glasspost.net.dns import Resolver
from glasspost.outbound.routes import Destination, Host, Route, Router, RoutingSettings, Smarthost
from glasspost.testing import Fault, Nameserver

ZONE = """
    two.test            MX     20 b.two.test
    two.test            MX     10 a.two.test
    a.two.test          A      192.0.2.10
    a.two.test          AAAA   2001:db8::10
    b.two.test          A      192.0.2.20

    bare.test           A      192.0.2.30           # no MX: its own address is its server
    bare6.test          AAAA   2001:db8::30
    alias.test          CNAME  two.test
    barealias.test      CNAME  bare.test
    mxalias.test        MX     10 barealias.test    # against RFC 2181, and common

    nomail.test         MX     0 .
    mixed.test          MX     0 .
    mixed.test          MX     10 b.two.test
    empty.test          TXT    "neither MX nor address"
    hostless.test       MX     10 empty.test
    hostless.test       MX     20 nowhere.test
    zeros.test          MX     10 zeros-mx.test
    zeros-mx.test       A      0.0.0.0
    zeros-mx.test       AAAA   ::
    zeros-mx.test       AAAA   ff02::1
    halfdead.test       MX     10 nowhere.test
    halfdead.test       MX     20 b.two.test

    broken.test         MX     10 a.two.test
    brokenhost.test     MX     10 servfail.test
    brokenhost.test     MX     20 nowhere.test
    sickhost.test       MX     10 servfail.test
    sickhost.test       MX     20 b.two.test
    sickfallback.test   TXT    "no MX, and its address cannot be found out"

    self.test           MX     10 us.test
    selfaddress.test    MX     10 ourother.test
    ourother.test       A      192.0.2.99           # an address of ours under a name that we do not know
    ourother.test       A      192.0.2.98
    disguised.test      MX     10 disguised-mx.test
    disguised-mx.test   AAAA   ::ffff:192.0.2.99
    bareself.test       A      192.0.2.99
    us.test             A      192.0.2.99
    us.test             MX     10 a.two.test
    lo.test             MX     10 localhost

    backup.test         MX     10 a.two.test
    backup.test         MX     20 us.test
    backup.test         MX     20 equal.two.test
    backup.test         MX     30 b.two.test
    equal.two.test      A      192.0.2.21
    backup2.test        MX     10 a.two.test
    backup2.test        MX     20 ourother.test
    backup2.test        MX     30 b.two.test
    backup3.test        MX     10 nowhere.test
    backup3.test        MX     20 us.test

    equals.test         MX     10 e1.test
    equals.test         MX     10 e2.test
    equals.test         MX     10 e3.test
    equals.test         MX     5  first.test
    equals.test         MX     50 last.test
    e1.test             A      192.0.2.41
    e2.test             A      192.0.2.42
    e3.test             A      192.0.2.43
    first.test          A      192.0.2.44
    last.test           A      192.0.2.45

    relay.test          A      192.0.2.60
    relay.test          MX     1 a.two.test         # never looked at: a smarthost is not found by MX
    ourrelay.test       A      192.0.2.99
"""
A_TWO = Host("a.two.test", 25, ("2001:db8::10", "192.0.2.10"))
B_TWO = Host("b.two.test", 25, ("192.0.2.20",))
SETTINGS = RoutingSettings(hostname="us.test")


def is_self(address: str, port: int) -> bool:
    return (address, port) in {("192.0.2.99", 25), ("127.0.0.1", 25), ("2001:db8::99", 25)}


@pytest.fixture
async def nameserver() -> AsyncIterator[Nameserver]:
    async with Nameserver(ZONE) as server:
        for name in ("broken.test", "servfail.test"):
            server.fail(name, Fault.SERVFAIL)
        server.fail("silent.test", Fault.SILENCE)
        server.fail("sickfallback.test", Fault.SERVFAIL, "A")
        yield server


Routing = Callable[..., Router]


@pytest.fixture
def router(nameserver: Nameserver) -> Routing:
    def make(settings: RoutingSettings = SETTINGS, seed: int = 0, patience: float = 60.0) -> Router:
        resolver = Resolver(nameserver.servers, timeout=patience)
        return Router(settings, resolver, is_self, random.Random(seed))

    return make


def patience_for(domain: str) -> float:
    """Silence alone is waited for; all else is answered, however long a loaded machine takes."""
    return 0.3 if domain == "silent.test" else 60.0


def mx(domain: str, *hosts: Host) -> Route:
    return Route(f"mx:{domain}", hosts, tls="may", names_are_sure=domain.startswith("["))


ROUTES: list[tuple[str, str, Route | Reply]] = [
    ("the lower preference first", "two.test", mx("two.test", A_TWO, B_TWO)),
    ("domains compare in lower case", "TWO.Test", mx("two.test", A_TWO, B_TWO)),
    ("no MX: A", "bare.test", mx("bare.test", Host("bare.test", 25, ("192.0.2.30",)))),
    ("no MX: AAAA", "bare6.test", mx("bare6.test", Host("bare6.test", 25, ("2001:db8::30",)))),
    ("CNAME to MX", "alias.test", mx("alias.test", A_TWO, B_TWO)),
    ("CNAME to A", "barealias.test", mx("barealias.test", Host("barealias.test", 25, ("192.0.2.30",)))),
    ("MX to CNAME", "mxalias.test", mx("mxalias.test", Host("barealias.test", 25, ("192.0.2.30",)))),
    ("null MX", "nomail.test", reply.NULL_MX.saying(domain="nomail.test")),
    ("null MX beside others is ignored", "mixed.test", mx("mixed.test", B_TWO)),
    ("NXDOMAIN", "nowhere.test", reply.NO_SUCH_DOMAIN.saying(domain="nowhere.test")),
    ("no domain", "", reply.NO_SUCH_DOMAIN.saying(domain="")),
    ("neither MX nor address", "empty.test", reply.NO_HOST.saying(domain="empty.test")),
    ("no MX host has an address", "hostless.test", reply.NO_HOST.saying(domain="hostless.test")),
    ("addresses that nobody has", "zeros.test", reply.NO_HOST.saying(domain="zeros.test")),
    ("a dead MX is left out", "halfdead.test", mx("halfdead.test", B_TWO)),
    (
        "SERVFAIL",
        "broken.test",
        reply.DNS_UNREADABLE.saying(domain="broken.test", fault="SERVFAIL"),
    ),
    (
        "silence",
        "silent.test",
        reply.DNS_UNREADABLE.saying(domain="silent.test", fault="no answer within 0.3 s"),
    ),
    (
        "no MX host can be looked up",
        "brokenhost.test",
        reply.DNS_UNREADABLE.saying(domain="brokenhost.test", fault="SERVFAIL"),
    ),
    ("one MX host cannot be looked up", "sickhost.test", mx("sickhost.test", B_TWO)),
    (
        "no MX, and the address cannot be looked up",
        "sickfallback.test",
        reply.DNS_UNREADABLE.saying(domain="sickfallback.test", fault="SERVFAIL"),
    ),
    # --- never to itself
    ("MX is us, by name", "self.test", reply.ROUTES_TO_SELF.saying(domain="self.test")),
    ("MX is us, by one address", "selfaddress.test", reply.ROUTES_TO_SELF.saying(domain="selfaddress.test")),
    ("us as IPv6-mapped IPv4", "disguised.test", reply.ROUTES_TO_SELF.saying(domain="disguised.test")),
    ("no MX, and the address is ours", "bareself.test", reply.ROUTES_TO_SELF.saying(domain="bareself.test")),
    ("MX is localhost", "lo.test", reply.ROUTES_TO_SELF.saying(domain="lo.test")),
    ("we are the backup: better ones only", "backup.test", mx("backup.test", A_TWO)),
    ("the same, known by address", "backup2.test", mx("backup2.test", A_TWO)),
    ("better ones, all dead", "backup3.test", reply.NO_HOST.saying(domain="backup3.test")),
    ("our own name has other servers", "us.test", mx("us.test", A_TWO)),
    # --- address literals
    ("IPv4", "[192.0.2.5]", mx("[192.0.2.5]", Host("[192.0.2.5]", 25, ("192.0.2.5",)))),
    (
        "IPv6",
        "[IPv6:2001:DB8:0::5]",
        mx("[ipv6:2001:db8:0::5]", Host("[ipv6:2001:db8:0::5]", 25, ("2001:db8::5",))),
    ),
    ("ourselves", "[192.0.2.99]", reply.ROUTES_TO_SELF.saying(domain="[192.0.2.99]")),
    ("ourselves, IPv6", "[IPv6:2001:db8::99]", reply.ROUTES_TO_SELF.saying(domain="[ipv6:2001:db8::99]")),
    ("mapped", "[IPv6:::ffff:192.0.2.99]", reply.ROUTES_TO_SELF.saying(domain="[ipv6:::ffff:192.0.2.99]")),
    ("nobody's", "[0.0.0.0]", reply.NO_HOST.saying(domain="[0.0.0.0]")),
    ("IPv6 without its tag", "[2001:db8::5]", reply.NO_SUCH_DOMAIN.saying(domain="[2001:db8::5]")),
    ("IPv4 with the tag", "[IPv6:192.0.2.5]", reply.NO_SUCH_DOMAIN.saying(domain="[ipv6:192.0.2.5]")),
    ("out of range", "[192.0.2.256]", reply.NO_SUCH_DOMAIN.saying(domain="[192.0.2.256]")),
    ("with an interface", "[IPv6:fe80::1%lo]", reply.NO_SUCH_DOMAIN.saying(domain="[ipv6:fe80::1%lo]")),
    ("unknown tag", "[x400:c=de]", reply.NO_SUCH_DOMAIN.saying(domain="[x400:c=de]")),
    ("not closed", "[192.0.2.5", reply.NO_SUCH_DOMAIN.saying(domain="[192.0.2.5")),
]


@pytest.mark.parametrize(
    ("domain", "expected"), [row[1:] for row in ROUTES], ids=[f"{row[0]}: {row[1]}" for row in ROUTES]
)
async def test_routes(domain: str, expected: Route | Reply, router: Routing) -> None:
    assert await router(patience=patience_for(domain)).route(domain) == expected


@pytest.mark.parametrize(
    ("domain", "code", "enhanced"),
    [
        ("nowhere.test", 550, "5.1.2"),
        ("nomail.test", 556, "5.1.10"),
        ("broken.test", 451, "4.4.3"),
        ("silent.test", 451, "4.4.3"),
        ("empty.test", 550, "5.4.4"),
        ("self.test", 554, "5.4.6"),
    ],
)
async def test_codes_on_the_wire(domain: str, code: int, enhanced: str, router: Routing) -> None:
    verdict = await router(patience=patience_for(domain)).route(domain)
    assert isinstance(verdict, Reply)
    assert (verdict.code, verdict.enhanced) == (code, enhanced)
    assert domain in verdict.text


# --- the order of hosts -------------------------------------------------------------------------------------


async def test_equals_come_in_every_order_and_stay_between_their_betters_and_worse(router: Routing) -> None:
    orders = set()
    for seed in range(60):
        route = await router(seed=seed).route("equals.test")
        assert isinstance(route, Route)
        names = [host.name for host in route.hosts]
        assert (names[0], names[-1]) == ("first.test", "last.test")
        orders.add(tuple(names[1:-1]))
    assert len(orders) == 6


async def test_only_so_many_mx_hosts_are_considered(router: Routing, nameserver: Nameserver) -> None:
    for number in range(30):
        nameserver.add("many.test", "MX", f"{number} m{number}.many.test")
        nameserver.add(f"m{number}.many.test", "A", f"192.0.2.{100 + number}")
    for limit in (10, 3):
        route = await router(replace(SETTINGS, mx_limit=limit)).route("many.test")
        assert isinstance(route, Route)
        assert [host.name for host in route.hosts] == [f"m{number}.many.test" for number in range(limit)]
    assert not nameserver.asked("m10.many.test")


async def test_we_are_found_by_name_behind_the_limit_too(router: Routing) -> None:
    # us.test stands at 20; so does equal.two.test, which may come before it but must not be tried.
    for seed in range(10):
        route = await router(replace(SETTINGS, mx_limit=2), seed=seed).route("backup.test")
        assert route == mx("backup.test", A_TWO)


async def test_our_name_is_known_however_it_is_written(router: Routing) -> None:
    verdict = await router(replace(SETTINGS, hostname="US.Test.")).route("self.test")
    assert verdict == reply.ROUTES_TO_SELF.saying(domain="self.test")


# --- settings -----------------------------------------------------------------------------------------------


async def test_the_port_for_mx_is_a_setting_and_part_of_who_we_are(router: Routing) -> None:
    route = await router(replace(SETTINGS, mx_port=2525)).route("bareself.test")
    assert route == mx("bareself.test", Host("bareself.test", 2525, ("192.0.2.99",)))


@pytest.mark.parametrize(
    ("domain", "proof"),
    [
        ("two.test", Destination("verify", ("mail.provider.test",), Path("own.pem"))),
        ("bare.test", Destination("encrypt")),
        ("[192.0.2.5]", Destination("may")),
    ],
)
async def test_what_a_destination_must_prove_is_a_setting_of_its_own(
    domain: str, proof: Destination, router: Routing
) -> None:
    """The most exact entry counts. Only names that somebody has written down are sure."""
    table = {
        "Two.test": Destination("verify", ("mail.provider.test",), Path("own.pem")),
        ".test": Destination("encrypt"),
    }
    route = await router(replace(SETTINGS, destinations=table)).route(domain)
    assert isinstance(route, Route)
    assert Destination(route.tls, route.names, route.ca_file) == proof
    assert route.names_are_sure is (bool(proof.names) or domain.startswith("["))


async def test_tls_for_mx_is_a_setting(router: Routing) -> None:
    for domain in ("two.test", "[192.0.2.5]"):
        route = await router(replace(SETTINGS, tls="encrypt")).route(domain)
        assert isinstance(route, Route) and route.tls == "encrypt"


@pytest.mark.parametrize(
    ("domain", "switched_off", "expected"),
    [
        ("two.test", "ipv6", ["192.0.2.10", "192.0.2.20"]),
        ("two.test", "ipv4", ["2001:db8::10"]),
        ("bare.test", "ipv4", None),
        ("bare6.test", "ipv6", None),
        ("[192.0.2.5]", "ipv4", None),
        ("[IPv6:2001:db8::5]", "ipv6", None),
        ("disguised.test", "ipv4", None),
    ],
)
async def test_a_family_can_be_switched_off(
    domain: str, switched_off: str, expected: list[str] | None, router: Routing
) -> None:
    settings = replace(SETTINGS, ipv4=switched_off != "ipv4", ipv6=switched_off != "ipv6")
    found = await router(settings).route(domain)
    if expected is None:
        assert isinstance(found, Reply) and found.enhanced == "5.4.4"
    else:
        assert isinstance(found, Route)
        assert [address for host in found.hosts for address in host.addresses] == expected


# --- smarthosts ---------------------------------------------------------------------------------------------

OF_ONE = Smarthost("192.0.2.61", 2501)
OF_THOSE_BELOW = Smarthost("192.0.2.62", 2502)
OF_THOSE_FURTHER_BELOW = Smarthost("192.0.2.63", 2503)
OF_ALL = Smarthost("192.0.2.64", 2504)
SMARTHOSTS = {
    "two.test": OF_ONE,
    ".Two.TEST": OF_THOSE_BELOW,
    ".deep.two.test": OF_THOSE_FURTHER_BELOW,
    "bücher.test": OF_ONE,
}


@pytest.mark.parametrize("for_all", [True, False], ids=["with one for all", "without"])
@pytest.mark.parametrize(
    ("domain", "chosen"),
    [
        ("two.test", OF_ONE),
        ("TWO.test.", OF_ONE),
        ("x.two.test", OF_THOSE_BELOW),
        ("x.y.two.test", OF_THOSE_BELOW),
        ("deep.two.test", OF_THOSE_BELOW),
        ("x.deep.two.test", OF_THOSE_FURTHER_BELOW),
        ("xn--bcher-kva.test", OF_ONE),
        ("nottwo.test", None),
        ("bare.test", None),
        ("nowhere.test", None),
        ("[192.0.2.5]", None),
    ],
)
async def test_the_most_particular_smarthost_is_taken(
    domain: str, chosen: Smarthost | None, for_all: bool, router: Routing, nameserver: Nameserver
) -> None:
    settings = replace(SETTINGS, smarthosts=SMARTHOSTS | ({"*": OF_ALL} if for_all else {}))
    found = await router(settings).route(domain)
    expected = chosen or (OF_ALL if for_all else None)
    if expected is None:
        assert isinstance(found, Reply) or found.key.startswith("mx:")
    else:
        assert isinstance(found, Route)
        assert found.key == f"smarthost:{expected.host}:{expected.port}"
        assert found.hosts == (Host(expected.host, expected.port, (expected.host,)),)
        assert not nameserver.queries


@pytest.mark.parametrize(
    ("written", "name", "addresses", "asks"),
    [
        ("relay.test", "relay.test", ("192.0.2.60",), True),
        ("192.0.2.7", "192.0.2.7", ("192.0.2.7",), False),
        ("2001:db8::7", "2001:db8::7", ("2001:db8::7",), False),
        ("[2001:db8::7]", "2001:db8::7", ("2001:db8::7",), False),
        ("localhost", "localhost", ("127.0.0.1", "::1"), False),
    ],
)
async def test_a_smarthost_is_a_name_or_an_address(
    written: str, name: str, addresses: tuple[str, ...], asks: bool, router: Routing, nameserver: Nameserver
) -> None:
    found = await router(replace(SETTINGS, smarthosts={"*": Smarthost(written, 2526)})).route("two.test")
    assert isinstance(found, Route)
    assert found.hosts == (Host(name, 2526, addresses),)
    assert bool(nameserver.queries) == asks
    assert not nameserver.asked("relay.test", "MX")


async def test_a_smarthost_brings_its_own_tls_and_sign_in(router: Routing) -> None:
    relay = Smarthost("relay.test", 465, "verify", implicit_tls=True, username="us", password="secret")
    found = await router(replace(SETTINGS, smarthosts={"*": relay})).route("two.test")
    assert found == Route(
        key="smarthost:us@relay.test:465",  # two users of one host never share a connection
        hosts=(Host("relay.test", 465, ("192.0.2.60",)),),
        tls="verify",
        implicit_tls=True,
        username="us",
        password="secret",
        names_are_sure=True,
    )
    assert "secret" not in repr(found) + repr(relay)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("nowhere.test", reply.SMARTHOST_UNUSABLE.saying(host="nowhere.test", fault="it has no address")),
        ("empty.test", reply.SMARTHOST_UNUSABLE.saying(host="empty.test", fault="it has no address")),
        (
            "ourrelay.test",
            reply.SMARTHOST_UNUSABLE.saying(host="ourrelay.test", fault="it is this server itself"),
        ),
        ("127.0.0.1", reply.SMARTHOST_UNUSABLE.saying(host="127.0.0.1", fault="it is this server itself")),
        ("servfail.test", reply.DNS_UNREADABLE.saying(domain="servfail.test", fault="SERVFAIL")),
    ],
)
async def test_mail_waits_while_the_smarthost_is_set_wrong(host: str, expected: Reply, router: Routing) -> None:
    found = await router(replace(SETTINGS, smarthosts={"*": Smarthost(host, 25)})).route("two.test")
    assert found == expected
    assert found.transient
