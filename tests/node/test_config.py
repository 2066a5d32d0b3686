"""The configuration file: what may stand in it, and what is said about what may not."""

from __future__ import annotations

import ipaddress
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from glasspost.errors import ConfigurationError, Exit
from glasspost.node import settings
from glasspost.node.config import load, read
from glasspost.node.settings import Config


def config(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration this text gives. Its first line is line 1."""
    file = tmp_path / "glasspost.toml"
    file.write_text(textwrap.dedent(text).removeprefix("\n"), encoding="utf-8")
    return load(file, environ or {})


def faults(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """What is said about this text, without the folder in front."""
    with pytest.raises(ConfigurationError) as raised:
        config(tmp_path, text, environ)
    return [str(problem).removeprefix(f"{tmp_path}/glasspost.toml:") for problem in raised.value.problems]


# --- the first start ----------------------------------------------------------------------------------------------


def test_the_first_start_needs_no_file() -> None:
    first = load(None, {})
    assert [(listener.role, listener.address, listener.port, listener.tls) for listener in first.listener] == [
        ("mx", "127.0.0.1", 2525, "starttls"),
        ("submission", "127.0.0.1", 2587, "starttls"),
        ("pop3", "127.0.0.1", 2110, "starttls"),
    ]
    assert first.node.data == Path("var")
    assert first.relay.schedule == (60, 300, 900, 1800, 3600, 7200, 14400)
    assert first == load(None, {"PATH": "/bin", "GLASSPOST_LOG": "not a setting: no double underscore"})


def test_an_empty_file_says_the_same_as_none(tmp_path: Path) -> None:
    assert config(tmp_path, "").model_dump(exclude={"node"}) == load(None, {}).model_dump(exclude={"node"})


def test_the_machines_name_is_taken_without_asking_the_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.socket, "gethostname", lambda: "Mail.Example.ORG")
    assert load(None, {}).node.hostname == "mail.example.org"
    monkeypatch.setattr(settings.socket, "gethostname", lambda: "no_name_at_all!")
    assert load(None, {}).node.hostname == "localhost"


def test_nothing_changes_after_reading() -> None:
    first = load(None, {})
    with pytest.raises(ValueError, match="frozen"):
        first.smtp.max_errors = 3  # type: ignore[misc]


def test_another_data_folder_is_another_configuration() -> None:
    first = load(None, {})
    assert first.with_data(Path("/srv/mail")).node.data == Path("/srv/mail")
    assert first.node.data == Path("var")
    assert first.with_data(None) is first


# --- what a file says ---------------------------------------------------------------------------------------------


def test_a_whole_file(tmp_path: Path) -> None:
    read_back = config(
        tmp_path,
        """
        [node]
        hostname = "Mail.Bücher.example."
        drain = "1 min"
        [[listener]]
        role = "mx"
        address = "::"
        port = 25
        [smtp]
        max_message_size = "25 MB"
        relay_networks = ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]
        relay_domains = ["Example.ORG"]
        [relay]
        schedule = ["1 min", 90, "4h"]
        timeouts = { connect = "250 ms" }
        [[smarthost]]
        domain = ".example.org"
        host = "192.0.2.1"
        [dns]
        servers = ["127.0.0.1:5353", "::1", "[::1]:54", "192.0.2.1"]
        """,
    )
    assert read_back.node.hostname == "mail.xn--bcher-kva.example"
    assert read_back.node.drain == 60
    assert len(read_back.listener) == 1, "with one listener written, the defaults are gone"
    assert read_back.smtp.max_message_size == 25 * 1024 * 1024
    assert ipaddress.ip_address("198.51.100.7") in read_back.smtp.relay_networks[2]
    assert read_back.smtp.relay_domains == ("example.org",)
    assert read_back.relay.schedule == (60, 90, 14400)
    assert read_back.relay.timeouts.connect == 0.25
    assert read_back.relay.timeouts.dot == 600, "what is not written keeps its default"
    assert read_back.dns.servers == (("127.0.0.1", 5353), ("::1", 53), ("::1", 54), ("192.0.2.1", 53))


def test_relative_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    read_back = config(tmp_path, '[node]\ndata = "mail"\n[tls]\ncertificate = "/etc/c.pem"\nkey = "tls/k.pem"\n')
    assert read_back.node.data == tmp_path / "mail"
    assert read_back.tls.certificate == Path("/etc/c.pem")
    assert read_back.tls.key == tmp_path / "tls/k.pem"


@pytest.mark.parametrize(
    ("more", "port", "tls"),
    [
        ("", 25, "may"),
        ('username = "u"\npassword = "p"', 25, "verify"),
        ("implicit_tls = true", 465, "verify"),
        ('username = "u"\npassword = "p"\ntls = "none"', 25, "none"),
        ("port = 2525", 2525, "may"),
    ],
)
def test_a_password_goes_over_proven_tls_unless_the_operator_says_otherwise(
    tmp_path: Path, more: str, port: int, tls: str
) -> None:
    (smarthost,) = config(tmp_path, f'[[smarthost]]\nhost = "smtp.example.net"\n{more}\n').smarthost
    assert (smarthost.port, smarthost.tls) == (port, tls)


# --- what is wrong with a file ------------------------------------------------------------------------------------


def test_all_faults_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    assert faults(
        tmp_path,
        '''
        [node]
        motto = """
        [smtp]
        vrfy = "tell"
        """
        [smtp]
        max_message_size = "25 XB"     # vrfy = "no"
        max_recipents = 4
        "vrfy" = "tel"
        [relay]
        schedule = [
          "5 min",  # the first
          "soon", 0,
        ]
        timeouts.conect = 5
        [[listener]]
        role = "mx"
        port = 70000
        [[listener]]
        role = "mx"
        ''',
    ) == [
        "2: node.motto: There is no such setting.",
        '7: smtp.max_message_size: "25 XB" is no size. Write "25 MB" (KB, MB, GB, TB), or a number of octets.',
        '8: smtp.max_recipents: There is no such setting. Did you mean "max_recipients"?',
        '9: smtp.vrfy: Must be "vague" or "tell". Did you mean "tell"?',
        '13: relay.schedule: "soon" is no duration. '
        'Write "5 min" (ms, s, min, h, days, weeks), or a number of seconds.',
        "13: relay.schedule: Must be more than 0.",
        '15: relay.timeouts.conect: There is no such setting. Did you mean "connect"?',
        "18: listener.port: Must be at most 65535.",
        "19: listener.port: Must be given.",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[smpt]\nvrfy = 1", '1: smpt: There is no such section. Did you mean "smtp"?'),
        ("[timeouts]\nquit = 1", '1: timeouts: There is no such section. Did you mean "relay.timeouts"?'),
        ('hostname = "x"', '1: hostname: There is no such setting. Did you mean "node.hostname"?'),
        ('[node]\nvrfy = "tell"', '2: node.vrfy: There is no such setting. Did you mean "smtp.vrfy"?'),
        ("[reports]\nxyzzy = 1", "2: reports.xyzzy: There is no such setting."),
        ("[listener]\nport = 25", "1: listener: Write [[listener]], in double brackets: there may be several."),
        ("[[smtp]]\nmax_errors = 2", "1: smtp: Write [smtp], in single brackets: there is only one."),
        ("smtp = 5", "1: smtp: Is a section: write [smtp], and its settings below."),
        ("[smtp]\nmax_errors = true", "2: smtp.max_errors: Must be a whole number."),
        ('[smtp]\nmax_errors = "10"', "2: smtp.max_errors: Must be a whole number."),
        ("[smtp]\nmax_errors = 0", "2: smtp.max_errors: Must be at least 1."),
        ('[smtp]\nsmtputf8 = "no"', "2: smtp.smtputf8: Must be true or false."),
        ("[smtp]\nmax_message_size = true", None),
        ("[smtp]\ndata_timeout = 0", "2: smtp.data_timeout: Must be more than 0."),
        ("[smtp]\ndata_timeout = inf", None),
        ("[relay]\nschedule = []", "2: relay.schedule: Must not be empty."),
        ('[relay]\nschedule = "5 min"', '2: relay.schedule: Must be a list: ["...", "..."].'),
        ("[relay]\njitter = 2", "2: relay.jitter: Must be at most 1."),
        ('[node]\nhostname = "a b"', None),
        ("[node]\ndata = 3", "2: node.data: Must be the path of a file or folder, in quotes."),
        ('[node]\ndata = ""', "2: node.data: Must be the path of a file or folder, in quotes."),
        ('[dns]\nservers = ["localhost"]', None),
        ('[smtp]\nrelay_networks = ["192.0.2.1/24"]', None),
        ('[mailboxes]\ndetail_separator = "+-"', "2: mailboxes.detail_separator: Must have at most 1 character."),
    ],
)
def test_one_fault(tmp_path: Path, text: str, fault: str | None) -> None:
    """Each by its own sentence; None where the sentence is the type's (test_values.py), and only its place counts."""
    told = faults(tmp_path, text)
    assert len(told) == 1
    if fault is None:
        assert told[0].startswith("2: ")
    else:
        assert told == [fault]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[tls]\ncertificate = "c.pem"', "2: tls.certificate: Has no key: name its private key in tls.key."),
        ('[tls]\nkey = "k.pem"', "2: tls.key: Has no certificate: name it in tls.certificate."),
        (
            "[relay]\nipv4 = false\nipv6 = false",
            "3: relay.ipv6: With ipv4 and ipv6 both false no server can be reached.",
        ),
        ('[relay]\nexpire = "2 h"', None),
        ('[relay]\nsource_ipv4 = "::1"', "2: relay.source_ipv4: ::1 is no IPv4 address."),
        (
            '[[smarthost]]\nhost = "h"\nusername = "u"',
            "3: smarthost.username: Has no password: give password or password_file, or oauth.",
        ),
        ('[[smarthost]]\nhost = "h"\npassword = "p"', "3: smarthost.password: Has no username."),
        ('[[smarthost]]\nhost = "h"\nimplicit_tls = true\ntls = "may"', None),
        (
            '[[smarthost]]\nhost = "h"\nca_file = "ca.pem"',
            '3: smarthost.ca_file: Is looked at only with tls = "verify".',
        ),
        (
            '[[smarthost]]\nhost = "a"\n[[smarthost]]\nhost = "b"',
            '3: smarthost.domain: Another smarthost is for "*" already.',
        ),
        (
            '[[listener]]\nrole = "mx"\nport = 25\n[[listener]]\nrole = "pop3"\nport = 25',
            "6: listener.port: Another listener has 127.0.0.1 port 25 already.",
        ),
    ],
)
def test_settings_that_do_not_go_together(tmp_path: Path, text: str, fault: str | None) -> None:
    told = faults(tmp_path, text)
    assert len(told) == 1
    assert fault is None or told == [fault]


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("[smtp]\nmax_message_size = 25 MB", 2, "max_message_size", 'Text stands in "quotes".'),
        ("[node]\n\nhostname = mail.example.org\n", 3, "hostname", 'Text stands in "quotes".'),
        ("[smtp]\nmax_errors = 1\nmax_errors = 2\n", 3, "max_errors", "cannot overwrite a value"),
        ("[smtp]\n[node]\n[smtp]\n", 3, "TOML", "twice"),
        ("[smtp]\nmax_errors\n", 2, "max_errors", "expected '='"),
        ('[smtp]\nvrfy = """tell\n', 2, "vrfy", "Is not TOML"),
    ],
)
def test_text_that_is_not_toml(tmp_path: Path, text: str, line: int, key: str, words: str) -> None:
    (told,) = faults(tmp_path, text)
    assert told.startswith(f"{line}: {key}: Is not TOML: ")
    assert words in told


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"nowhere\.toml: configuration file: Cannot be read: no such file"
    ) as raised:
        load(tmp_path / "nowhere.toml", {})
    assert raised.value.exit_code == Exit.CONFIGURATION
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'[node]\n# Gr\xfc\xdfe\nhostname = "a"\n')
    with pytest.raises(ConfigurationError, match=r"latin\.toml:2: text: Is not UTF-8"):
        load(latin, {})


def test_a_byte_order_mark_and_crlf_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes(b"\xef\xbb\xbf[smtp]\r\nmax_errors = 3\r\nvrfi = 1\r\n")
    with pytest.raises(ConfigurationError, match=r":3: smtp\.vrfi: .* Did you mean \"vrfy\"") as raised:
        load(file, {})
    assert len(raised.value.problems) == 1


# --- the environment ----------------------------------------------------------------------------------------------


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    read_back = config(
        tmp_path,
        '[smtp]\nmax_errors = 3\n[[smarthost]]\nhost = "a.example"\nusername = "u"\n',
        {
            "GLASSPOST_SMTP__MAX_ERRORS": "20",
            "GLASSPOST_SMTP__SMTPUTF8": "false",
            "GLASSPOST_SMTP__MAX_MESSAGE_SIZE": "1 MB",
            "GLASSPOST_SMTP__RELAY_DOMAINS": "a.example, b.example",
            "GLASSPOST_RELAY__TIMEOUTS__CONNECT": "10 s",
            "GLASSPOST_RELAY__SCHEDULE": "1 min,2 h",
            "GLASSPOST_RELAY__JITTER": "0.5",
            "GLASSPOST_SMARTHOST__0__PASSWORD": "1234",
            "GLASSPOST_SMARTHOST__1__DOMAIN": "example.org",
            "GLASSPOST_SMARTHOST__1__HOST": "b.example",
        },
    )
    assert (read_back.smtp.max_errors, read_back.smtp.smtputf8) == (20, False)
    assert read_back.smtp.max_message_size == 1024 * 1024
    assert read_back.smtp.relay_domains == ("a.example", "b.example")
    assert read_back.relay.timeouts.connect == 10
    assert read_back.relay.schedule == (60, 7200)
    assert read_back.relay.jitter == 0.5
    assert read_back.smarthost[0].secret() == "1234", "text stays text, also where it looks like a number"
    assert read_back.smarthost[1].host == "b.example"


def test_more_than_ten_listeners_from_the_environment_keep_their_order() -> None:
    environ = {}
    for number in range(12):
        environ[f"GLASSPOST_LISTENER__{number}__ROLE"] = "mx"
        environ[f"GLASSPOST_LISTENER__{number}__PORT"] = str(3000 + number)
    assert [listener.port for listener in load(None, environ).listener] == list(range(3000, 3012))


def test_faults_in_the_environment_are_told_by_the_variables_name(tmp_path: Path) -> None:
    assert faults(
        tmp_path,
        '[smtp]\nmax_errors = 3\n[dns]\nservers = ["127.0.0.1"]\nxyzzy = 1\n',
        {
            "GLASSPOST_DNS__SERVERS": "x.y, 127.0.0.1",
            "GLASSPOST_POP3__CLEARTEXT_AUTH": "loop",
            "GLASSPOST_SMARTHOST__0__PORT": "25",
            "GLASSPOST_SMARTHOST__7__PORT": "25",
            "GLASSPOST_SMTP__MAX_ERORS": "3",
            "GLASSPOST_SMTP__MAX_ERRORS": "many",
            "GLASSPOST_SMTP__VRFY__MORE": "1",
        },
    ) == [
        "5: dns.xyzzy: There is no such setting.",
        "environment: GLASSPOST_SMARTHOST__7__PORT: Leads nowhere; numbers count from 0, without gaps.",
        "environment: GLASSPOST_SMTP__MAX_ERRORS: Must be a whole number.",
        'environment: GLASSPOST_SMTP__VRFY__MORE: Must be "vague" or "tell".',
        'environment: GLASSPOST_SMTP__MAX_ERORS: There is no such setting. Did you mean "GLASSPOST_SMTP__MAX_ERRORS"?',
        'environment: GLASSPOST_POP3__CLEARTEXT_AUTH: Must be "loopback", "never" or "always". '
        'Did you mean "loopback"?',
        "environment: smarthost.host: Must be given, or socket.",
        'environment: GLASSPOST_DNS__SERVERS: "x.y" is no DNS server. Write "192.0.2.1", "192.0.2.1:5353" or '
        '"[2001:db8::1]:53".',
    ]


# --- secrets ------------------------------------------------------------------------------------------------------


def test_a_password_shows_nowhere(tmp_path: Path) -> None:
    read_back = config(tmp_path, '[[smarthost]]\nhost = "h"\nusername = "u"\npassword = "open sesame"\n')
    assert read_back.smarthost[0].secret() == "open sesame"
    assert "sesame" not in repr(read_back) + str(read_back) + repr(read_back.model_dump())


@pytest.mark.parametrize(
    "line", ["password = 5347", "pasword = 5347", 'password = ["5347"]', 'password = "5347"', "password = 5347 x"]
)
def test_no_fault_tells_a_password(tmp_path: Path, line: str) -> None:
    assert "5347" not in "".join(faults(tmp_path, f'[[smarthost]]\nhost = "h"\n{line}\n'))


@pytest.mark.parametrize(
    "text",
    [
        '[rspamd]\nurl = "http://me:5347@127.0.0.1:11333"\n',
        '[oauth]\nissuer = "x"\naudience = "y"\njwks_url = "https://me:5347@id.example.org/keys"\n',
        '[oauth]\nintrospection_url = "http://5347@127.0.0.1/"\n',
        '[[oauth_client]]\nname = "x"\nclient_id = "y"\ntoken_url = "https://me:5347@id.example.org/token"\n',
    ],
)
def test_an_address_with_a_password_in_it_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    """`config show`, errors and the log print addresses of services: a password in one would be told."""
    found = faults(tmp_path, text)
    assert len(found) == 1
    assert "5347" not in found[0]


def test_a_password_from_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("open sesame\nnot this line\n")
    text = '[[smarthost]]\nhost = "h"\nusername = "u"\npassword_file = "secret"\n'
    assert config(tmp_path, text).smarthost[0].secret() == "open sesame"
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigurationError, match=r"secret: smarthost\.password_file: .*No such file"):
        config(tmp_path, text).smarthost[0].secret()


def test_where_each_setting_was_said(tmp_path: Path) -> None:
    file = tmp_path / "g.toml"
    file.write_text("[smtp]\nmax_errors = 3\nvrfy = 'tell'\n")
    origins = read(file, {"GLASSPOST_SMTP__VRFY": "vague"}).origins
    assert str(origins["smtp", "max_errors"]) == f"{file}:2"
    assert str(origins["smtp", "vrfy"]) == "GLASSPOST_SMTP__VRFY"
    assert ("smtp", "expn") not in origins


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[[destination]]\ndomain = "a.test"\ntls = "may"\nnames = ["mx.a.test"]', "destination.names"),
        ('[[destination]]\ndomain = "a.test"\ntls = "encrypt"\nca_file = "ca.pem"', "destination.ca_file"),
        (
            '[[destination]]\ndomain = "*"\ntls = "may"\n[[destination]]\ndomain = "*"\ntls = "none"',
            "destination.domain",
        ),
        ('[[certificate]]\ncertificate = "c.pem"\nkey = "k.pem"', "certificate.certificate"),
    ],
)
def test_what_contradicts_itself_about_tls_is_told(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "g.toml").write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path / "g.toml", {})
    assert [re.sub(r"\.\d+", "", problem.key) for problem in raised.value.problems] == [key]
