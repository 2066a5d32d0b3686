"""Send mail from an ESP8266: SMTP spoken by hand, in MicroPython.

Lives here: one conversation with a mail server, and the message that is told in it.
Does not live here: Wi-Fi and the clock (wifi.py), TLS (an ESP8266 has no room for it: let a bridge speak it).

    send_mail("192.168.1.2", "cellar@example.org", ["anna@example.org"], "Cellar: 21 °C", ["All is dry."])

Three laws are kept here:

- Only the server's 250 after the final dot means that the mail is sent. All else raises `MailError`.
- Memory is bounded by a line, not by the message: a generator or an open file is sent as it comes.
- If the message cannot be finished, no dot is sent: the server throws half a message away.

It needs `socket`, `time` and `binascii`, so it also runs where there is no Wi-Fi. § means RFC 5321.
"""

# ruff: noqa: B904  (MicroPython has no exception chaining: `raise ... from` would only warn)

import binascii
import socket
import time

LINE_LIMIT = 512  # octets of one reply line, with its CRLF (§4.5.3.1.5)
REPLY_LIMIT = 2048  # octets of a whole reply: no server needs more, and a hostile one must not fill the heap
PIECE = 128  # octets read from the network at once
CLOCK_IS_SET = 2024  # a clock that says an earlier year was never set (it starts in 1970 or 2000)

# How long to wait, in seconds (§4.5.3.2)
COMMAND_WAIT = 300  # greeting, EHLO, MAIL, RCPT
DATA_WAIT = 120  # for "354 go ahead"
BLOCK_WAIT = 180  # for the network to take a piece of the message
DOT_WAIT = 600  # the server may need long to store the message; whoever gives up sooner gets duplicates
QUIT_WAIT = 30  # the mail is safe by now: politeness may end


class MailError(Exception):
    """The mail was not sent, and why: what was being said, and the server's reply to it.

    `code` is the reply's number, 0 where there was none. 4xx: try again later. 5xx: do not try again.
    `doubtful` is true where the whole message was sent but no reply came: it may have arrived all the same.
    """

    def __init__(self, step, text, code=0, doubtful=False):
        super().__init__(f"{step}: {text}" + (" (the mail may or may not have arrived)" if doubtful else ""))
        self.code = code
        self.doubtful = doubtful


def send_mail(
    host,
    sender,
    recipients,
    subject,
    lines,
    port=25,
    hello="esp8266.local",
    username=None,
    password=None,
    patience=DOT_WAIT,
    talk=None,
):
    """Send one message. Returns the recipients who were refused, each with the `MailError`: {} if none was.

    `recipients`: a list of addresses. `lines`: text, a file, or anything else that gives lines.
    `hello`: our name, or better our address, as "[192.168.1.17]" (§4.1.3).
    `patience`: no single wait is longer than this many seconds; the default is what the RFC asks for.
    `talk`: called with each line of the conversation, as in `talk=print`; passwords are masked.

    Raises `MailError` where nobody gets the mail, `ValueError` where an address cannot be said safely.
    """
    for word in [hello, sender] + recipients:  # noqa: RUF005  (needs no star-unpacking)
        check(word)
    if not recipients:
        raise ValueError("a mail needs a recipient")
    smtp = Smtp(patience, talk)
    try:
        smtp.connect(host, port)
        smtp.hello(hello)
        if username:
            smtp.sign_in(username, password)
        return smtp.send(sender, recipients, message(sender, recipients, subject, lines))
    finally:
        smtp.quit()


class Smtp:
    """One conversation with a mail server: its methods, in the order in which they are used."""

    def __init__(self, patience=DOT_WAIT, talk=None):
        self._patience = patience
        self._talk = talk or (lambda line: None)
        self._socket = None
        self._unread = b""  # came from the network, and is not yet a whole line
        self._step = ""  # what is being said, for the error's text
        self._in_step = False  # the server waits for a command of ours
        self._doubt = False  # the dot is out, its reply is not in
        self._mechanisms = []  # of sign-in, as the server offers them

    def connect(self, host, port=25):
        """Open the connection and hear the greeting (§3.1)."""
        self._step = f"connecting to {host}:{port}"
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
            self._socket = socket.socket(family, kind)
            self._socket.settimeout(min(COMMAND_WAIT, self._patience))
            self._socket.connect(address)
        except OSError as error:
            raise self._lost(error)
        self._hear("220", COMMAND_WAIT)

    def hello(self, name):
        """Say who we are: EHLO, or HELO to a server from before 1993 (§3.2, §4.1.1.1)."""
        try:
            offers = self._ask("EHLO " + name, "250")
        except MailError as refusal:
            if refusal.code // 100 != 5:
                raise
            offers = self._ask("HELO " + name, "250")
        for offer in offers[1:]:
            words = offer.upper().replace("=", " ").split()  # "AUTH=LOGIN" is how very old servers write it
            if words and words[0] == "AUTH":
                self._mechanisms += words[1:]

    def sign_in(self, username, password):
        """AUTH PLAIN (RFC 4616) or LOGIN. The password travels readable: only do this in your own network."""
        if "PLAIN" in self._mechanisms:
            secret = base64(f"\0{username}\0{password}")
            self._ask("AUTH PLAIN " + secret, "235", public="AUTH PLAIN ****")
        elif "LOGIN" in self._mechanisms:
            self._ask("AUTH LOGIN", "334")
            self._ask(base64(username), "334", public="AUTH LOGIN ****")
            self._ask(base64(password), "235", public="AUTH LOGIN ****")
        else:
            raise MailError("AUTH", "the server offers neither PLAIN nor LOGIN")

    def send(self, sender, recipients, content):
        """One mail transaction: the envelope, then the content (§3.3). Returns the recipients refused.

        `content` gives the message's lines as bytes, without line ends.
        """
        self._ask(f"MAIL FROM:<{sender}>", "2")
        refused = {}
        for recipient in recipients:
            try:
                self._ask(f"RCPT TO:<{recipient}>", "2")
            except MailError as refusal:
                if refusal.code in (0, 421):  # this ends the conversation, not only the recipient (§3.8)
                    raise
                refused[recipient] = refusal
        if all(recipient in refused for recipient in recipients):
            raise refused[recipients[-1]]
        self._ask("DATA", "354", DATA_WAIT)
        self._pour(content)
        return refused

    def quit(self):
        """Say goodbye, if the server can hear it, and close (§4.1.1.10). Never raises: all is decided."""
        if self._socket is None:
            return
        try:
            if self._in_step:
                self._ask("QUIT", "221", QUIT_WAIT)
        except MailError:
            pass
        self._socket.close()
        self._socket = None

    # --- the message goes out -------------------------------------------------------------------------------

    def _pour(self, content):
        """Send the content line by line, end it with a dot, and wait for the 250 (§4.1.1.4)."""
        self._step = "the message"
        self._in_step = False  # from here to the dot, whatever we say would be taken for the message
        count = 0
        for line in content:
            # A line that begins with a dot gets one more, so that it cannot be taken for the end (§4.5.2).
            self._write((b"." if line[:1] == b"." else b"") + line + b"\r\n")
            count += 1
        self._talk(f"# {count} lines of message")
        self._step = "the end of the message"
        if self._unread:  # an answer to a question not yet asked: it must not be taken for the answer
            raise self._lost("the server spoke out of turn")
        self._talk("C: .")
        self._doubt = True
        self._write(b".\r\n")
        self._hear("250", DOT_WAIT)

    # --- lock step: one command, one reply (§4.3.1) ---------------------------------------------------------

    def _ask(self, command, wanted, seconds=COMMAND_WAIT, public=None):
        """Say a command, hear its reply. `public` is what may be shown of the command, where that is less."""
        self._step = public or command
        self._in_step = False
        self._talk("C: " + self._step)
        self._write(command.encode() + b"\r\n")
        return self._hear(wanted, seconds)

    def _hear(self, wanted, seconds):
        """Read one reply, of one line or many, and return its texts (§4.2.1).

        Only the code decides, never the text (§4.2): MailError where it does not begin with `wanted`.
        """
        texts = []
        code = None
        octets = 0
        deadline = time.time() + min(seconds, self._patience)
        while True:
            line = self._read_line(deadline)
            octets += len(line)
            mark = line[3:4]  # "-" more lines follow; " " or nothing: the last one
            well_formed = len(line) >= 3 and line[:3].isdigit() and mark in ("", " ", "-")
            if not well_formed or line[:3] != (code or line[:3]) or octets > REPLY_LIMIT:
                raise self._lost(f"this is not an SMTP reply: {line}")
            code = line[:3]
            texts.append(line[4:])
            if mark != "-":
                break
        self._in_step = code != "421"  # whoever says 421 hangs up (§3.8)
        doubt = self._doubt and code < "400"
        self._doubt = False
        if not code.startswith(wanted):
            raise MailError(self._step, code + " " + " / ".join(texts), int(code), doubt)
        return texts

    def _read_line(self, deadline):
        """The next line of the server, without CRLF. It may come in any number of pieces."""
        while b"\r\n" not in self._unread:
            if len(self._unread) > LINE_LIMIT:
                raise self._lost("the server's line is too long")
            left = deadline - time.time()
            if left <= 0:
                raise self._lost("no whole reply in time")
            try:
                self._socket.settimeout(left)
                piece = self._socket.recv(PIECE)
            except OSError as error:
                raise self._lost(error)
            if not piece:
                raise self._lost("the server closed the connection")
            self._unread += piece
        end = self._unread.find(b"\r\n")
        if end > LINE_LIMIT - 2:
            raise self._lost("the server's line is too long")
        line = bytes(octet if 32 <= octet < 127 else 63 for octet in self._unread[:end]).decode()  # 63 is "?"
        self._unread = self._unread[end + 2 :]
        self._talk("S: " + line)
        return line

    def _write(self, octets):
        """Send all octets; the network may take them in several bites."""
        try:
            self._socket.settimeout(min(BLOCK_WAIT, self._patience))
            while octets:
                octets = octets[self._socket.send(octets) :]
        except OSError as error:
            raise self._lost(error)

    def _lost(self, fault):
        """The error for a conversation that cannot go on."""
        self._in_step = False
        return MailError(self._step, str(fault), 0, self._doubt)


# --- the message (RFC 5322, MIME) ---------------------------------------------------------------------------


def message(sender, recipients, subject, lines):
    """Give the message line by line, as bytes without line ends: header, empty line, text.

    The text goes as UTF-8 in quoted-printable (RFC 2045 §6.7): it passes servers that know only 7 bits,
    no line gets too long, and plain words stay plain.
    """
    now = time.gmtime()
    if now[0] >= CLOCK_IS_SET:
        yield date(now)
    yield b"From: " + sender.encode()
    for number, recipient in enumerate(recipients):
        comma = b"," if number + 1 < len(recipients) else b""
        yield (b" " if number else b"To: ") + recipient.encode() + comma
    yield from subject_field(subject)
    yield b"MIME-Version: 1.0"
    yield b"Content-Type: text/plain; charset=utf-8"
    yield b"Content-Transfer-Encoding: quoted-printable"
    yield b""
    for line in lines.split("\n") if isinstance(lines, str) else lines:
        yield from quoted_printable(line.rstrip("\r\n"))


def date(now):
    """The Date field (RFC 5322 §3.3). The clock of an ESP8266 shows UTC."""
    year, month, day, hour, minute, second, weekday = now[:7]
    weekday = "MonTueWedThuFriSatSun"[3 * weekday : 3 * weekday + 3]
    month = "JanFebMarAprMayJunJulAugSepOctNovDec"[3 * month - 3 : 3 * month]
    return f"Date: {weekday}, {day} {month} {year} {hour:02d}:{minute:02d}:{second:02d} +0000".encode()


def subject_field(subject):
    """The Subject field: as it is if short and plain, else as encoded-words, one a line (RFC 2047)."""
    if len(subject) <= 65 and "=?" not in subject and all(" " <= letter <= "~" for letter in subject):
        yield b"Subject: " + subject.encode()
        return
    start = "Subject: "
    word = ""
    for letter in subject:
        # 39 octets make a line of at most 76 (RFC 2047 §2); no letter is split over two words (§5 there).
        if len((word + letter).encode()) > 39:
            yield f"{start}=?utf-8?B?{base64(word)}?=".encode()
            start = " "
            word = ""
        word += letter
    yield f"{start}=?utf-8?B?{base64(word)}?=".encode()


def quoted_printable(line):
    """One line of text as one or more lines of at most 76 octets. No CR, LF or 8th bit gets through."""
    octets = line.encode()
    out = bytearray()
    for place, octet in enumerate(octets):
        blank = octet in (9, 32) and place + 1 < len(octets)  # a blank at the end of a line would get lost
        plain = 33 <= octet <= 126 and octet != 61  # 61 is "="
        sign = bytes([octet]) if plain or blank else f"={octet:02X}".encode()
        if len(out) + len(sign) > 75:
            yield bytes(out) + b"="
            out = bytearray()
        out.extend(sign)
    yield bytes(out)


def base64(text):
    """Text as base64, without the line end that MicroPython adds."""
    return binascii.b2a_base64(text.encode()).decode().strip()


def check(word):
    """Refuse what could end a command or a field early, and letters that need SMTPUTF8 (RFC 6531)."""
    if not word or any(letter <= " " or letter > "~" or letter in "<>" for letter in word):
        raise ValueError(f"not an address that SMTP can carry: {word!r}")
