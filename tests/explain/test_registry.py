"""Every code there is has its answer, in both languages: the registry of enhanced status codes, the basic codes, and
what is said about codes that nobody has registered.
"""

from __future__ import annotations

import pytest

from glasspost.explain.explainer import explain
from glasspost.explain.explanation import ACTORS, LANGUAGES, RETRIES
from glasspost.mail import reply as say
from glasspost.protocol.pop3_table import VERBS
from glasspost.protocol.smtp_client_events import Step
from glasspost.protocol.smtp_table import TABLE

# IANA, SMTP Enhanced Status Codes, as of 2024-12-06: subject and the highest detail; there are no gaps.
REGISTRY = {0: 0, 1: 10, 2: 4, 3: 6, 4: 7, 5: 6, 6: 10, 7: 30}
ENHANCED = [f"{subject}.{detail}" for subject, last in REGISTRY.items() for detail in range(last + 1)]

# RFC 5321 §4.2.3, and what ETRN, ATRN, AUTH, STARTTLS, RFC 1845, RFC 5248 and RFC 7504 add.
BASIC = [
    str(code)
    for code in (
        *(211, 214, 220, 221, 235, 250, 251, 252, 253, 334, 354, 355),
        *(421, 422, 432, 450, 451, 452, 453, 454, 455, 458, 459),
        *(500, 501, 502, 503, 504, 521, 523, 524, 525, 530, 534, 535, 538, 550, 551, 552, 553, 554, 555, 556),
    )
]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("code", ENHANCED)
def test_every_registered_enhanced_code_is_answered(code: str, lang: str) -> None:
    assert len(ENHANCED) == 81
    for digit in "45":
        for text in (f"{digit}.{code}", f"{digit}50 {digit}.{code} some words that nobody knows"):
            told = explain(text, lang)
            assert told.by == "enhanced"
            assert told.what
            assert told.next
            assert told.act in ACTORS
            assert told.retry in RETRIES
            assert (told.retry == "later") == (digit == "4")
    assert explain(f"2.{code}", lang).by in ("enhanced", "class")
    assert explain(f"2.{code}", lang).retry == ""


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("code", BASIC)
def test_every_basic_code_is_answered(code: str, lang: str) -> None:
    told = explain(f"{code} some words that nobody knows", lang)
    assert (told.by, told.name) == ("basic", f"reply-{code}")
    assert told.what
    assert bool(told.next) == (code[0] in "45" and code != "453")
    assert explain(f"{code}", lang).by_words == explain("5.1.1", lang).by_words, "the code is all that was asked"


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("559 odd", "class-mail-system"),
        ("539 odd", "class-sign-in"),
        ("599 odd", "class-5"),
        ("499 odd", "class-4"),
        ("399 odd", "class-3"),
        ("299 odd", "class-2"),
        ("5.7.999", "subject-policy"),
        ("4.4.999", "subject-network"),
        ("5.9.1", "class-5"),
        ("550 5.7.999 odd", "reply-550"),
        ("599 5.7.999 odd", "subject-policy"),
    ],
)
def test_an_unknown_code_is_told_by_its_kind(text: str, name: str, lang: str) -> None:
    told = explain(text, lang)
    assert told.name == name
    assert told.by == ("basic" if name == "reply-550" else "class")


def test_transient_codes_are_nobodys_business_at_first() -> None:
    assert (explain("4.4.2").act, explain("5.4.2").act) == ("nobody", "sender-admin")
    assert explain("4.7.25").act == "sender-admin", "but a missing PTR record does not come by waiting"


@pytest.mark.parametrize("verb", sorted({*TABLE, *VERBS}))
def test_every_command_that_our_servers_know_is_explained(verb: str) -> None:
    assert explain(verb).by == "command"
    assert explain(f"{verb.lower()} something").by == "command"


# Refusals of our own whose code says all there is to say; every other one has an entry.
CODE_SAYS_IT = {
    "AUTH_BAD_BASE64", "AUTH_CANCELLED", "BAD_PARAMETER", "BAD_SEQUENCE", "NO_ARGUMENT", "SYNTAX",
    "NO_ANSWER", "SERVER_TIMED_OUT", "TLS_FAILED",  # the fault that follows has an entry
}  # fmt: skip
OWN_REFUSALS = [name for name in dir(say) if isinstance(reply := getattr(say, name), say.Reply) and reply.code >= 400]


class _Filled(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "100" if key in ("limit", "hops", "size") else "mx.example.org"


@pytest.mark.parametrize("name", OWN_REFUSALS)
def test_every_refusal_of_our_own_is_explained(name: str) -> None:
    reply = getattr(say, name)
    told = explain(f"{reply.code} {reply.enhanced} {reply.text.format_map(_Filled())} [c0123456789a]", "zh")
    assert told.by in (("enhanced",) if name in CODE_SAYS_IT else ("wording", "failure"))


@pytest.mark.parametrize("step", Step)
def test_every_step_at_which_a_server_is_lost_is_told_apart(step: Step) -> None:
    lost = str(say.CONNECTION_LOST.saying(server="mx.example.org", when=step.value))
    silent = str(say.SERVER_TIMED_OUT.saying(server="mx.example.org", when=step.value))
    assert explain(lost).by == "failure"
    if step not in (Step.RSET, Step.QUIT):
        assert explain(lost).name not in ("failure-lost", "failure-reset")
        assert explain(silent).by == "failure"
        assert explain(silent).name != "failure-timeout"
