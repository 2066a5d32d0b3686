"""An explanation: what a reply means, who must act, what to do next, and how sure that is.

Lives here: the value that `explain` gives, and the few words that every explanation shares, in each language.
Does not live here: the knowledge (data/), finding the right entry (explainer.py).
"""

from __future__ import annotations

from dataclasses import dataclass

LANGUAGES = ("en", "zh")

# How an explanation was found, the surest first. It is always said: whoever acts on it must know how much it knows.
FOUND_BY = ("wording", "failure", "enhanced", "basic", "class", "command", "keyword", "nothing")

# Who must act.
ACTORS = ("sender", "sender-admin", "recipient", "recipient-admin", "nobody")

# Does trying again help: not at all; later, with the same message; once something was changed. Empty: nothing failed.
RETRIES = ("no", "later", "changed", "")

_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "sender": "whoever sent the message",
        "sender-admin": "the administrator of the sending side",
        "recipient": "the recipient",
        "recipient-admin": "the administrator of the receiving side",
        "nobody": "nobody",
        "retry-no": "No. Trying again brings the same answer.",
        "retry-later": "Yes, later.",
        "retry-changed": "Only after something has been changed.",
        "retry-": "Nothing needs to be tried again.",
        "by-wording": "this wording is known",
        "by-failure": "this failure is known",
        "by-code": "this code is known",
        "by-response": "only the response code in brackets was recognised, not the text",
        "by-enhanced": "only the enhanced status code was recognised, not the text",
        "by-basic": "only the reply code was recognised, not the text",
        "by-class": "only the kind of code was recognised, not the code itself",
        "by-command": "this command is known",
        "by-keyword": "this keyword is known",
        "by-nothing": "nothing in the text was recognised",
        "unknown": "Nothing is known about this text. It has no reply code, and is no command or keyword known here.",
        "unknown-next": "Look for the server's own words: a line with a code of three digits, like 550.",
    },
    "zh": {
        "sender": "发件人",
        "sender-admin": "发件方的邮件管理员",
        "recipient": "收件人",
        "recipient-admin": "收件方的邮件管理员",
        "nobody": "无需任何人处理",
        "retry-no": "没有用，再试也是同样的结果。",
        "retry-later": "有用，请稍后再试。",
        "retry-changed": "要先作出改动，再试才有用。",
        "retry-": "无需重试。",
        "by-wording": "识别出了这段应答文字",
        "by-failure": "识别出了这种故障",
        "by-code": "识别出了这个代码",
        "by-response": "只识别出方括号中的响应码，没有识别出文字",
        "by-enhanced": "只识别出增强状态码，没有识别出文字",
        "by-basic": "只识别出应答码，没有识别出文字",
        "by-class": "只识别出代码的大类，没有识别出这个代码本身",
        "by-command": "识别出了这条命令",
        "by-keyword": "识别出了这个关键字",
        "by-nothing": "没有识别出任何内容",
        "unknown": "对这段文字一无所知：其中没有应答码，也不是这里认识的命令或关键字。",
        "unknown-next": "请找出服务器的原话，也就是带三位数字代码（如 550）的那一行。",
    },
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a text means. `what`, `next`, `act_words` are sentences or words in `lang`; the rest is for programs.

    `text`: what was asked. `by`: how it was found, one of FOUND_BY. `name`: the entry's. `server`: whose wording it
    is, empty where it is nobody's in particular. `act`: one of ACTORS. `next`: what to do next, empty where nothing
    is to be done. `retry`: one of RETRIES. `source`: where the entry has its knowledge from. `code` and `enhanced`:
    the codes read in the text, empty where there were none.
    """

    text: str
    by: str
    name: str
    server: str
    what: str
    act: str
    act_words: str
    next: str
    retry: str
    source: str
    code: str = ""
    enhanced: str = ""
    lang: str = "en"

    @property
    def retry_words(self) -> str:
        """Whether trying again helps, as a sentence."""
        return words(f"retry-{self.retry}", self.lang)

    @property
    def by_words(self) -> str:
        """How it was found, in words."""
        if self.by == "enhanced" and not self.enhanced:
            return words("by-response", self.lang)  # POP3
        codes = (self.code, self.enhanced, f"{self.code} {self.enhanced}")
        only_codes = self.by in ("enhanced", "basic") and self.text.strip() in codes
        return words("by-code" if only_codes else f"by-{self.by}", self.lang)


def words(key: str, lang: str) -> str:
    """One of the shared words; an unknown language is English."""
    return _WORDS.get(lang, _WORDS["en"])[key]


def known_language(name: str) -> str:
    """The language meant by "zh", "zh_CN.UTF-8", "zh-Hans", "en_GB"...; English where it is none of ours."""
    short = name.strip().lower().replace("-", "_").partition("_")[0].partition(".")[0]
    return short if short in LANGUAGES else "en"
