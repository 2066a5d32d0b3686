"""Real servers' wordings (explain/data/wordings/): each is known by its own, none takes another's, all read alike."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from glasspost.explain.entry import Entry, read_entries
from glasspost.explain.explainer import explain
from glasspost.explain.pattern import alternatives, as_one
from glasspost.explain.reply_text import read
from glasspost.explain.shelf import DATA

ENTRIES = [
    entry
    for path in sorted((DATA / "wordings").glob("*.toml"))
    for entry in read_entries(path.read_text(encoding="utf-8"), path.name)
]
LINES = {entry.name: read(entry.example).line for entry in ENTRIES}
PATTERNS = {entry.name: re.compile(entry.key, re.IGNORECASE) for entry in ENTRIES}
WEIGHTS = {entry.name: as_one(entry.key, alternatives(entry.key)).weight for entry in ENTRIES}

LONGEST = {"en": (230, 340), "zh": (110, 170)}  # letters of what and next: about three lines of a terminal
DOCUMENTATION = re.compile(r"(?:192\.0\.2|198\.51\.100|203\.0\.113|127\.\d+\.\d+)\.\d+")
NOT_ADDRESSES = {"4.16.55.1"}  # Yahoo's number of a rule

SERVERS = (
    "Gmail; Outlook.com; Exchange Online; Exchange; Yahoo; AOL; iCloud; QQ Mail; Tencent Exmail; NetEase (163/126);"
    " Coremail; Sina Mail; Aliyun; GMX, WEB.DE; T-Online; Proofpoint; Mimecast; Barracuda; Cloudmark; Trend Micro;"
    " Cisco Secure Email; Symantec Email Security.cloud; Spamhaus; SpamCop; SORBS; UCEPROTECT; Abusix; Invaluement;"
    " Postfix; Exim; Sendmail; qmail; OpenSMTPD; Haraka; Courier; MailEnable; MDaemon; hMailServer; Dovecot;"
    " Amazon SES; SendGrid; Mailgun; rspamd; Amavis; SpamAssassin; OpenDMARC; OpenDKIM; policyd-spf"
)


def by_name(entry: Entry) -> str:
    return entry.name


def test_there_are_many() -> None:
    assert len(ENTRIES) >= 250


@pytest.mark.parametrize("server", SERVERS.split("; "))
def test_a_server_that_many_meet_is_there(server: str) -> None:
    assert server.strip() in {entry.server for entry in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES, ids=by_name)
def test_its_example_is_its_own(entry: Entry) -> None:
    told = explain(entry.example)
    assert (told.name, told.by, told.server) == (entry.name, "wording", entry.server)


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if "\n" in entry.example], ids=by_name)
def test_a_log_that_writes_a_long_reply_in_one_line_is_understood_too(entry: Entry) -> None:
    assert explain(" ".join(entry.example.splitlines())).name == entry.name


@pytest.mark.parametrize("entry", ENTRIES, ids=by_name)
def test_another_that_fits_its_example_as_well_demands_less(entry: Entry) -> None:
    line = LINES[entry.name]
    rivals = [name for name, pattern in PATTERNS.items() if name != entry.name and pattern.search(line)]
    assert [name for name in rivals if WEIGHTS[name] >= WEIGHTS[entry.name]] == []


def test_nothing_is_there_twice() -> None:
    for what in ([entry.name for entry in ENTRIES], [entry.key for entry in ENTRIES], list(LINES.values())):
        assert [one for one, times in Counter(what).items() if times > 1] == []


@pytest.mark.parametrize("entry", ENTRIES, ids=by_name)
def test_an_entry_can_be_read_at_a_glance_in_both_languages(entry: Entry) -> None:
    assert entry.source and entry.retry
    for lang, (longest_what, longest_next) in LONGEST.items():
        words = entry.words[lang]
        assert 0 < len(words.what) <= longest_what, lang
        assert 0 < len(words.next) <= longest_next, lang
        for text in (words.what, words.next):
            assert "  " not in text
            assert text.endswith("." if lang == "en" else "。"), text
    english = entry.words["en"].what
    assert english[0].isupper() or english.startswith(("hMailServer", "iCloud", "qmail", "smtp"))


@pytest.mark.parametrize("entry", ENTRIES, ids=by_name)
def test_an_example_shows_addresses_of_documentation_only(entry: Entry) -> None:
    shown = set(re.findall(r"(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.]*\d)", entry.example)) - NOT_ADDRESSES
    assert [address for address in shown if not DOCUMENTATION.fullmatch(address)] == []


# Other forms in which the same was seen, or is documented: older texts, other codes, other variable parts.
@pytest.mark.parametrize(
    ("line", "name"),
    [
        (
            "550 5.2.1 The email account that you tried to reach is disabled. g0000000000ggg.00",
            "gmail-account-disabled",
        ),
        ("552 5.2.2 The email account that you tried to reach is over quota.", "gmail-over-quota"),
        ("535 5.7.1 Username and Password not accepted. Learn more at", "gmail-bad-credentials"),
        (
            "550 5.7.26 This message does not have authentication information or fails to pass authentication checks "
            "(SPF or DKIM). To best protect our users from spam, the message has been blocked.",
            "gmail-unauthenticated",
        ),
        (
            "421 4.7.0 Our system has detected an unusual rate of unsolicited mail originating from your IP address.",
            "gmail-unusual-rate-ip",
        ),
        (
            "552-5.7.0 Our system detected an illegal attachment on your message. Please\n"
            "552 5.7.0 visit http://mail.google.com/support/bin/answer.py?answer=6590 to",
            "gmail-security-issue",
        ),
        (
            "host gmail-smtp-in.l.google.com[192.0.2.27] said: 550-5.7.1 [192.0.2.22 18] Our system has detected that "
            "this message is 550-5.7.1 likely suspicious due to the very low reputation of the sending IP",
            "gmail-ip-reputation",
        ),
        (
            "550 5.7.511 Access denied, banned sender[192.0.2.4]. To request removal from this list please forward this"
            " message to delist@messaging.microsoft.com. AS(508)",
            "exchange-online-banned-sender",
        ),
        (
            "550 5.4.1 [bob@example.org]: Recipient address rejected: Access denied "
            "[NEKOCHAN.cat-neko22.prod.protection.outlook.com]",
            "exchange-online-access-denied-recipient",
        ),
        ("550 5.4.316 Message expired, connection refused", "exchange-online-connection-refused"),
        ("550 5.7.134 RESOLVER.RST.SenderNotAuthenticatedForMailbox", "exchange-online-external-restricted"),
        ("421 4.7.0 [TS01] Messages from 192.0.2.1 temporarily deferred due to user complaints", "yahoo-tss04"),
        ("553 5.7.2 [TSS11] All messages from 192.0.2.25 will be permanently deferred", "yahoo-tss09"),
        ("554 5.7.9 Message not accepted for policy reasons. See https://senders.yahooinc.com/", "yahoo-policy"),
        ("550 Connection frequency limited. http://service.exmail.qq.com/cgi-bin/help", "qq-connection-frequency"),
        ("550 DT:SPM 163 mx3,1600499561", "netease-dt-spm"),
        ("450 RP:CCL", "netease-commands"),
        ("554 HL:IHU 163 mx7,1600499561", "netease-hl-ip"),
        (
            "554 IP:192.0.2.254 - A problem occurred. (Ask your postmaster for help or to contact us)",
            "t-online-problem",
        ),
        ("550 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.4", "proofpoint-blocked"),
        ("550 administrative prohibition envelope blocked", "mimecast-envelope-blocked"),
        (
            "554 5.7.1 Service unavailable; Client host [192.0.2.5] blocked using b.barracudacentral.org; "
            "http://www.barracudanetworks.com/reputation/?pr=1&ip=192.0.2.5",
            "barracuda-brbl",
        ),
        ("550 5.7.1 192.0.2.44 has been blocked by zen.spamhaus.org", "spamhaus-zen"),
        ("550 5.7.1 Rejected: 192.0.2.44 listed at sbl.spamhaus.org", "spamhaus-zen"),
        ("554 5.7.1 blocked using zen.spamhaus.org=127.255.255.254", "spamhaus-open-resolver"),
        ("550 192.0.2.4 is listed in bl.spamcop.net (127.0.0.2)", "spamcop"),
        ("454 4.7.1 <a@example.org>: Relay access denied", "postfix-relay-denied"),
        ("454 4.7.1 <ann@example.org>: Recipient address rejected: Greylisted for 5 minutes", "postfix-postgrey"),
        ("421 4.7.0 st11p00im-smtpin005.me.com Error: too many errors", "postfix-too-many-errors"),
        ("552 5.3.4 Error: message file too big", "postfix-size"),
        ("550-5.1.1 <x@example.org>... User unknown", "sendmail-user-unknown"),
        ("550 relay not permitted, authentication required", "exim-relay-not-permitted"),
        ("535 5.7.8 Error: authentication failed:", "sign-in-sasl-failed"),
        ("450 4.2.0 Greylisted, please come back later", "greylisted"),
        ("550 5.1.1 Mailbox does not exist", "shared-user-unknown"),
        ("522 5.2.2 over quota", "shared-mailbox-full"),
        ("550 Message was rejected as spam", "shared-spam"),
    ],
)
def test_other_forms_of_a_wording(line: str, name: str) -> None:
    assert explain(line).name == name


# Alike at first sight, and yet another's, or nobody's that is known.
@pytest.mark.parametrize(
    ("line", "not_by"),
    [
        ("550 5.7.1 <bob@example.org>: Recipient address rejected: Access denied", "Exchange Online"),
        ("530 5.7.0 Must issue a STARTTLS command first", "Gmail"),
        ("530 5.7.0 Authentication required", "Gmail"),
        ("451 4.3.0 Server busy, try again later", "Gmail"),
        ("550 Mailbox not found", "QQ Mail"),
        ("552 5.2.2 <ann@example.org>: user is over quota", "iCloud"),
        ("550 5.7.1 SPF check failed", "QQ Mail"),
        ("552 Message too large", "QQ Mail"),
        ("550 DMARC check failed", "QQ Mail"),
        ("554 5.7.1 Spam message rejected", "Mail.ru"),
        ("550 User not found", "Coremail"),
        ("421 Too many connections, slow down", "Orange, La Poste"),
        ("550 5.1.1 User unknown in SC-001 department", "Outlook.com"),
    ],
)
def test_a_server_is_not_named_for_what_others_say_too(line: str, not_by: str) -> None:
    assert explain(line).server != not_by


@pytest.mark.parametrize("line", ["250 2.0.0 Ok: queued as 4B1", "354 End data with <CR><LF>.<CR><LF>", "220 ready"])
def test_a_yes_is_nobody_s_complaint(line: str) -> None:
    assert explain(line).by != "wording"
