"""Signing in with other people's programs, by every mechanism they know; and nothing of it is on record."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import smtplib
import socket
import ssl
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from letters import PLAIN
from node_process import PASSWORD, run
from owner import BY_TOKEN, OWNER, TOKEN, Place
from scramp import ScramClient

Program = Callable[..., str]
Curl = Callable[..., bytes]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("place"))
    try:
        yield place
    finally:
        if place.node.running:
            place.node.stop()


# --- sending --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", *BY_TOKEN])
def test_curl_sends(place: Place, curl: Curl, mechanism: str) -> None:
    secret = place.secret(mechanism)
    who = ("-u", OWNER, "--oauth2-bearer", secret) if mechanism in BY_TOKEN else ("-u", f"{OWNER}:{secret}")
    url = f"smtp://127.0.0.1:{place.submission}"
    options = ("--ssl-reqd", "--insecure", "--login-options", f"AUTH={mechanism}")
    curl(url, *who, *options, "--mail-from", OWNER, "--mail-rcpt", OWNER, "-T", "-", stdin=PLAIN)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_swaks_sends(place: Place, program: Program, mechanism: str) -> None:
    where = ("--server", f"127.0.0.1:{place.submission}", "--tls", "--auth", mechanism)
    who = ("--auth-user", OWNER, "--auth-password", place.secret(mechanism), "--from", OWNER, "--to", OWNER)
    assert f"AUTH {mechanism}" in run(program("swaks"), *where, *who)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_smtplib_signs_in(place: Place, mechanism: str) -> None:
    with smtplib.SMTP("127.0.0.1", place.submission, timeout=20) as client:
        client.starttls(context=_trusting())
        client.ehlo()
        client.user, client.password = OWNER, place.secret(mechanism)
        method = getattr(client, f"auth_{mechanism.lower().replace('-', '_')}")
        assert client.auth(mechanism, method, initial_response_ok=mechanism != "CRAM-MD5")[0] == 235


@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256", "cram-md5", "oauthbearer", "xoauth2"])
def test_msmtp_sends(place: Place, program: Program, tmp_path: Path, mechanism: str) -> None:
    settings = tmp_path / "msmtprc"
    settings.write_text(
        f"defaults\nhost 127.0.0.1\nport {place.submission}\ntls on\ntls_starttls on\ntls_certcheck off\n"
        f"account default\nauth {mechanism}\nuser {OWNER}\npassword {place.secret(mechanism.upper())}\nfrom {OWNER}\n"
    )
    settings.chmod(0o600)
    said = run(program("msmtp"), "--debug", "--file", settings, OWNER, stdin=PLAIN)
    assert f"AUTH {mechanism.upper()}" in said and "Safe on disk" in said


# --- fetching -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", *BY_TOKEN])
def test_curl_fetches(place: Place, curl: Curl, mechanism: str) -> None:
    secret = place.secret(mechanism)
    who = ("-u", OWNER, "--oauth2-bearer", secret) if mechanism in BY_TOKEN else ("-u", f"{OWNER}:{secret}")
    curl(f"pop3://127.0.0.1:{place.pop3}/", *who, "--ssl-reqd", "--insecure", "--login-options", f"AUTH={mechanism}")


@pytest.mark.parametrize("mechanism", ["user", "plain", "login", "scram-sha-256", "cram-md5", "oauthbearer", "xoauth2"])
def test_mpop_fetches(place: Place, program: Program, tmp_path: Path, mechanism: str) -> None:
    for name in ("cur", "new", "tmp"):
        (tmp_path / "maildir" / name).mkdir(parents=True)
    settings = tmp_path / "mpoprc"
    settings.write_text(
        f"defaults\nhost 127.0.0.1\nport {place.pop3}\ntls on\ntls_starttls on\ntls_certcheck off\n"
        f"uidls_file {tmp_path}/uidls\nkeep on\ndelivery maildir {tmp_path}/maildir\n"
        f"account default\nauth {mechanism}\nuser {OWNER}\npassword {place.secret(mechanism.upper())}\n"
    )
    settings.chmod(0o600)
    assert "Welcome; messages:" in run(program("mpop"), "--debug", "--file", settings)


def test_fetchmail_looks_for_mail(place: Place, program: Program, tmp_path: Path) -> None:
    settings = tmp_path / "fetchmailrc"
    settings.write_text(
        f"poll 127.0.0.1 protocol pop3 service {place.pop3} auth cram-md5 no dns:\n"
        f'  user "{OWNER}" there with password "{place.app}" options keep sslproto TLS1.2+ no sslcertck\n'
    )
    settings.chmod(0o600)
    environment = {"FETCHMAILHOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [program("fetchmail"), "--nodetach", "--check", "-v", "--fetchmailrc", str(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "CRAM-MD5" in done.stdout


# --- bound to the certificate, by hand ------------------------------------------------------------------------


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize("seen", ["ours", "somebody else's"])
@pytest.mark.parametrize("door", ["submission", "pop3"])
def test_scram_plus(place: Place, door: str, seen: str) -> None:
    """SCRAM-SHA-256-PLUS over the real TLS: good only where the client sees the certificate that we show."""
    with socket.create_connection(("127.0.0.1", getattr(place, door)), 20) as plain:
        first = plain.makefile("rwb")
        first.readline()
        for line in (b"EHLO c.test", b"STARTTLS") if door == "submission" else (b"STLS",):
            first.write(line + b"\r\n")
            first.flush()
            while first.readline()[3:4] == b"-":
                pass
        with _trusting().wrap_socket(plain) as tls:
            certificate = tls.getpeercert(binary_form=True) or b""
            shown = hashlib.sha256(certificate if seen == "ours" else b"x").digest()
            client = ScramClient(["SCRAM-SHA-256-PLUS"], OWNER, PASSWORD, ("tls-server-end-point", shown))
            wire = tls.makefile("rwb")

            def say(text: str) -> str:
                wire.write(text.encode() + b"\r\n")
                wire.flush()
                line = wire.readline()
                while line[3:4] == b"-" and door == "submission":
                    line = wire.readline()
                return line.decode().rstrip("\r\n")

            if door == "submission":
                say("EHLO c.test")
            answer = say("AUTH SCRAM-SHA-256-PLUS " + _b64(client.get_client_first()))
            client.set_server_first(_unb64(answer.partition(" ")[2]))
            answer = say(_b64(client.get_client_final()))
            if seen == "ours":
                client.set_server_final(_unb64(answer.partition(" ")[2]))
                answer = say("")
            assert answer.startswith(
                {"ours": ("235 ", "+OK Welcome"), "somebody else's": ("535 5.7.8 ", "-ERR [AUTH] User name or")}[seen]
            )


def test_a_refused_token_is_told_what_is_wrong_first(place: Place) -> None:
    """RFC 7628 §3.2.3."""
    with smtplib.SMTP("127.0.0.1", place.submission, timeout=20) as client:
        client.starttls(context=_trusting())
        client.ehlo()
        code, said = client.docmd("AUTH", "OAUTHBEARER " + _b64(f"n,a={OWNER},\x01auth=Bearer nonsense\x01\x01"))
        assert (code, json.loads(base64.b64decode(said))) == (334, {"status": "invalid_token"})
        assert client.docmd("AQ==")[0] == 535
        assert client.noop()[0] == 250


# --- guessing -------------------------------------------------------------------------------------------------


def test_guesses_are_listed_and_forgotten_while_the_node_runs(place: Place) -> None:
    for name in ("owner", "nobody"):
        with smtplib.SMTP("127.0.0.1", place.submission, timeout=20) as client, pytest.raises(smtplib.SMTPException):
            client.starttls(context=_trusting())
            client.login(f"{name}@here.test", "wrong")
    listed = place.node.ask("limits", "list")
    assert {one["name"] for one in listed if one["kind"] == "account"} == {"nobody@here.test"}
    assert f"127.0.0.1 {OWNER}" in {one["name"] for one in listed if one["kind"] == "pair"}, "known here: counted apart"
    assert "forgotten" in place.node.tell("limits", "clear", "nobody@here.test")
    assert "nobody" not in place.node.tell("limits", "list")
    place.node.tell("limits", "clear", "all")


def test_app_passwords_by_command(place: Place) -> None:
    tell = place.node.tell
    made = tell("account", "app-password", "add", OWNER, "camera", "--for", "send").strip()
    with smtplib.SMTP("127.0.0.1", place.submission, timeout=20) as client:
        client.starttls(context=_trusting())
        client.login(OWNER, made)
    with pytest.raises(Exception, match="wrong"):
        place.node.sign_in(OWNER, made)
    assert [one["name"] for one in place.node.ask("account", "app-password", "list", OWNER)] == ["camera", "old"]
    tell("account", "app-password", "remove", OWNER, "camera")
    with smtplib.SMTP("127.0.0.1", place.submission, timeout=20) as client, pytest.raises(smtplib.SMTPException):
        client.starttls(context=_trusting())
        client.login(OWNER, made)


# --- afterwards -----------------------------------------------------------------------------------------------


def test_none_of_the_secrets_is_on_record(place: Place) -> None:
    """The last test of this file: everything above was recorded."""
    place.node.stop()
    files = [path for path in place.node.data.iterdir() if path.is_file() and path.name != "directory.db"]
    rows = apsw.Connection(str(place.node.data / "transcripts.db")).execute("SELECT talk FROM segment").fetchall()
    told = b"".join(zlib.decompress(row[0]) for row in rows) + place.node.log.encode()
    kept = b"".join(path.read_bytes() for path in files) + told
    assert b"signed in as owner@here.test by SCRAM-SHA-256-PLUS" in kept
    for secret in (PASSWORD, place.app, TOKEN):
        for text in (secret, f"\0{OWNER}\0{secret}", f"n,a={OWNER},\x01auth=Bearer {secret}"):
            assert text.encode() not in kept
            for start in range(3):  # base64 of it, wherever in the message it stood
                middle = base64.b64encode(b"x" * start + text.encode())[4:-4]
                assert middle not in kept
    key = hmac.digest(place.app.encode(), b"", "md5").hex().encode()
    assert key not in kept
    for part in (b"n=owner@here.test,r=", b"c=biws", b",s=", b",i=10000", b",p=", b"v="):
        for start in range(3):
            middle = base64.b64encode(b"x" * start + part + b"yy")[4:-4]
            # Two octets stand somewhere in any file by chance: what is so short is looked for in what can be read.
            assert part not in told and (len(middle) < 8 or middle not in told)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _unb64(text: str) -> str:
    return base64.b64decode(text).decode()
