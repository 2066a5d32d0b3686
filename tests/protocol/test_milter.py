"""The milter protocol, the mail server's side: packets as they stand on the wire, and answers good and bad."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasspost.protocol import milter as wire
from glasspost.protocol.milter import Answer, Change, MilterChat, MilterError, Progress, field_line, fields_of
from milters import packet


def negotiated(version: int = 6, actions: int = 0x1FF, steps: int = 0, symbols: bytes = b"") -> MilterChat:
    chat = MilterChat()
    chat.take_output()
    chat.receive(packet(b"O", struct.pack("!III", version, actions, steps) + symbols))
    assert chat.next_heard() == Answer("continue")
    return chat


def test_it_offers_version_6_and_no_more_than_it_does() -> None:
    output = MilterChat().take_output()
    length, letter, version, actions, steps = struct.unpack("!IcIII", output)
    assert (length, letter, version) == (13, b"O", 6)
    assert actions == 0x01 | 0x10 | 0x20 | 0x100, "add headers, change headers, quarantine, choose macros"
    assert not actions & 0x02, "it does not promise to change bodies"
    assert steps == 0x1FF7FF, "all steps and answers can be waived, but for refused recipients"


def test_the_steps_of_a_message_stand_on_the_wire_as_libmilter_reads_them() -> None:
    chat = negotiated()
    chat.connect("mail.example.org", "192.0.2.1", 4711, {"j": "mx.example", "{client_ptr}": "unknown", "v": ""})
    chat.helo("mail.example.org", {})
    chat.mail("a@example.org", ("SIZE=99", "BODY=8BITMIME"), {})
    chat.rcpt("b@example.net", (), {"{rcpt_addr}": "b@example.net"})
    chat.data({})
    chat.header(b"Subject", b" folded\r\n\tvalue")
    chat.end_of_header({})
    chat.body(b"Hello\r\n")
    chat.end_of_message({"i": "q02k34w86px3"})
    chat.abort()
    chat.quit()
    assert chat.take_output() == b"".join(
        [
            packet(b"D", b"Cj\0mx.example\0{client_ptr}\0unknown\0"),
            packet(b"C", b"mail.example.org\0004\x12\x67192.0.2.1\0"),
            packet(b"H", b"mail.example.org\0"),
            packet(b"M", b"<a@example.org>\0SIZE=99\0BODY=8BITMIME\0"),
            packet(b"D", b"R{rcpt_addr}\0b@example.net\0"),
            packet(b"R", b"<b@example.net>\0"),
            packet(b"T"),
            packet(b"L", b"Subject\0folded\n\tvalue\0"),
            packet(b"N"),
            packet(b"B", b"Hello\r\n"),
            packet(b"D", b"Ei\0q02k34w86px3\0"),
            packet(b"E"),
            packet(b"A"),
            packet(b"Q"),
        ]
    )


def test_an_ipv6_client_is_told_as_sendmail_tells_it() -> None:
    chat = negotiated()
    chat.connect("[2001:db8::1]", "2001:db8::1", 25, {})
    assert chat.take_output() == packet(b"C", b"[2001:db8::1]\0006\x00\x19IPv6:2001:db8::1\0")


def test_a_filter_that_wants_leading_space_gets_it() -> None:
    chat = negotiated(steps=0x100000)
    chat.header(b"Subject", b"  two")
    assert chat.take_output() == packet(b"L", b"Subject\0  two\0")


def test_a_filter_that_chooses_its_macros_hears_of_no_others() -> None:
    chat = negotiated(symbols=struct.pack("!I", 0) + b"j {client_addr}\0" + struct.pack("!I", 3) + b"rcpt_addr\0")
    chat.connect("x", "192.0.2.1", 1, {"j": "mx", "v": "1", "{client_addr}": "192.0.2.1"})
    chat.rcpt("b@example.net", (), {"{rcpt_addr}": "b", "{rcpt_host}": "example.net"})
    output = chat.take_output()
    assert packet(b"D", b"Cj\0mx\0{client_addr}\x00192.0.2.1\0") in output
    assert packet(b"D", b"R{rcpt_addr}\0b\0") in output


def test_what_a_filter_waives_is_known() -> None:
    chat = negotiated(steps=0x10 | 0x80)
    assert not chat.wants(wire.BODY)
    assert chat.wants(wire.HEADER)
    assert not chat.answers(wire.HEADER)
    assert chat.answers(wire.END_OF_MESSAGE)


ANSWERS = [
    (b"c", b"", Answer("continue")),
    (b"a", b"", Answer("accept")),
    (b"r", b"", Answer("reject")),
    (b"t", b"", Answer("tempfail")),
    (b"d", b"", Answer("discard")),
    (b"s", b"", Answer("skip")),
    (b"4", b"", Answer("shutdown")),
    (b"q", b"looks odd\0", Change("quarantine", value=b"looks odd")),
    (b"h", b"X-A\0b\0", Change("add", b"X-A", b"b")),
    (b"i", b"\0\0\0\1X-A\0b\0", Change("insert", b"X-A", b"b", 1)),
    (b"m", b"\0\0\0\2Subject\0\0", Change("change the field", b"Subject", b"", 2)),
    (b"+", b"<c@example.net>\0", Change("add a recipient", value=b"<c@example.net>")),
    (b"b", b"other body", Change("replace the body")),
]


@pytest.mark.parametrize(("letter", "data", "meaning"), ANSWERS)
def test_answers_are_understood_also_byte_by_byte(letter: bytes, data: bytes, meaning: object) -> None:
    chat = negotiated()
    for octet in packet(letter, data):
        assert chat.next_heard() is None
        chat.receive(bytes((octet,)))
    assert chat.next_heard() == meaning
    assert chat.next_heard() is None


def test_progress_is_a_sign_of_life() -> None:
    chat = negotiated()
    chat.receive(packet(b"p"))
    assert isinstance(chat.next_heard(), Progress)


def test_a_reply_of_the_filters_own_is_made_harmless() -> None:
    chat = negotiated()
    chat.receive(
        packet(b"y", b"550 5.7.1 100%% spam \xe2\x98\xb9\0") + packet(b"y", b"451-4.7.1 one\r\n451 4.7.1 two\0")
    )
    first, second = chat.next_heard(), chat.next_heard()
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert str(first.reply) == "550 5.7.1 100% spam ?"
    assert str(second.reply) == "451 4.7.1 one / two"


@pytest.mark.parametrize(
    "said",
    [
        packet(b"Z"),
        packet(b"y", b"250 2.0.0 fine\0"),
        packet(b"y", b"550-no\r\n451 yes\0"),
        packet(b"h", b"no value"),
        packet(b"i", b"\0"),
        struct.pack("!I", 0),
        struct.pack("!I", 1 << 30) + b"c",
    ],
)
def test_what_is_not_the_protocol_is_an_error(said: bytes) -> None:
    chat = negotiated()
    chat.receive(said)
    with pytest.raises(MilterError):
        chat.next_heard()


@pytest.mark.parametrize(
    "said", [packet(b"c"), packet(b"O", b"short"), packet(b"O", struct.pack("!III", 7, 0, 0)),
             packet(b"O", struct.pack("!III", 6, 0, 1 << 30))],
)  # fmt: skip
def test_who_does_not_negotiate_well_is_no_filter(said: bytes) -> None:
    chat = MilterChat()
    chat.receive(said)
    with pytest.raises(MilterError):
        chat.next_heard()


@given(st.binary(max_size=300))
def test_no_octets_make_it_raise_anything_else(said: bytes) -> None:
    chat = negotiated()
    chat.receive(said)
    try:
        while chat.next_heard() is not None:
            pass
    except MilterError:
        pass


def test_fields_are_told_apart() -> None:
    header = b"Received: a\r\n\tb\r\nSubject:  c\r\nX :d\r\n\r\n"
    assert list(fields_of(header)) == [(b"Received", b" a\r\n\tb"), (b"Subject", b"  c"), (b"X", b"d")]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (b"X-Spam", b"Yes", b"X-Spam: Yes\r\n"),
        (b"X-Long", b" one;\n\ttwo\r\n three", b"X-Long: one;\r\n\ttwo\r\n three\r\n"),
        (b"X-Bad", b"one\nSubject: forged", b"X-Bad: one\r\n\tSubject: forged\r\n"),
        (b"X-Bad", b"one\n\nbody", b"X-Bad: one\r\n\tbody\r\n"),
        (b"X-Bad", b"one\rtwo", b"X-Bad: one two\r\n"),
        (b"No name", b"x", None),
        (b"X:y", b"x", None),
        (b"X-Long", b"x" * 1000, None),
    ],
)
def test_an_added_field_is_one_field_whatever_a_filter_puts_into_it(
    name: bytes, value: bytes, line: bytes | None
) -> None:
    assert field_line(name, value) == line


@given(st.binary(max_size=200))
def test_an_added_field_never_ends_the_header(value: bytes) -> None:
    line = field_line(b"X-A", value)
    if line is not None:
        assert line.endswith(b"\r\n")
        first, *others = line.removesuffix(b"\r\n").split(b"\r\n")
        assert first.startswith(b"X-A: ")
        assert all(other[:1] in (b" ", b"\t") and other.strip() for other in others)
        assert b"\n" not in line.replace(b"\r\n", b"")
        assert b"\r" not in line.replace(b"\r\n", b"")
