"""Proxies that say within the conversation on whose behalf they speak (XCLIENT): nginx's mail proxy, and swaks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from letters import PLAIN
from node_process import PASSWORD, NodeProcess, free_port, until

Program = Callable[..., str]
Swaks = Callable[..., str]
LISTENERS = """
[[listener]]
role = "mx"
port = 0
xclient_networks = ["127.0.0.1"]
[[listener]]
role = "submission"
port = 0
xclient_networks = ["127.0.0.1"]
"""
_NGINX = """\
load_module {module};
daemon off;
pid {folder}/pid;
error_log stderr info;
events {{ }}
mail {{
    server_name proxy.test;
    auth_http 127.0.0.1:{answers}/;
    xclient on;
    server {{ listen 127.0.0.1:{front}; protocol smtp; smtp_auth {how}; }}
}}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{answers};
        add_header Auth-Status OK;
        add_header Auth-Server 127.0.0.1;
        add_header Auth-Port {port};
        location / {{ return 200; }}
    }}
}}
"""
_MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")


@pytest.fixture
def node(new_node: Callable[..., NodeProcess]) -> NodeProcess:
    return new_node(LISTENERS)


@pytest.fixture
def nginx(program: Program, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """`nginx(port, how)` proxies to a port, with `how` its own clients sign in; the port it listens on."""
    path = program("nginx", "nginx-core and libnginx-mod-mail")
    running: list[subprocess.Popen[bytes]] = []

    def start(port: int, how: str = "none") -> int:
        settings = tmp_path / "nginx.conf"
        front, answers = free_port(), free_port()
        settings.write_text(
            _NGINX.format(module=_MODULE, folder=tmp_path, answers=answers, front=front, how=how, port=port)
        )
        with (tmp_path / "nginx.log").open("wb") as log:
            running.append(subprocess.Popen([path, "-p", tmp_path, "-c", settings], stderr=log))
        until((tmp_path / "pid").exists, f"nginx: {(tmp_path / 'nginx.log').read_text()}", 10)
        return front

    yield start
    for process in running:
        process.terminate()
        process.wait(10)


def test_nginx_brings_a_client(node: NodeProcess, nginx: Callable[..., int], swaks: Swaks) -> None:
    """The client is who called nginx, not nginx: in Received, and on record."""
    mailbox = node.new_mailbox()
    front = nginx(node.doors[-2][1])

    swaks(front, mailbox, PLAIN, "--local-interface", "127.0.0.2")

    (arrived,) = node.wait_for_mail(mailbox)
    received = arrived.partition(b"Received: ")[2].partition(b"\r\nReceived: ")[0]
    assert b"from client.test ([127.0.0.2])" in received
    talk = node.newest_talk("smtp-in")
    assert "C: XCLIENT ADDR=127.0.0.2" in talk
    assert "XCLIENT from 127.0.0.1: " in talk


def test_nginx_lets_an_owner_in(node: NodeProcess, nginx: Callable[..., int], swaks: Swaks) -> None:
    """nginx has checked the password; we hear the name, and let it send to anywhere."""
    owner = node.new_mailbox()
    front = nginx(node.doors[-1][1], "plain login")

    said = swaks(
        front, "eve@elsewhere.test", PLAIN, "--auth", "PLAIN", "--auth-user", owner, "--auth-password", PASSWORD
    )

    assert "235 " in said and "Safe on disk" in said
    talk = node.newest_talk("smtp-in")
    assert f"LOGIN={owner}" in talk
    assert "AUTH" not in talk.replace("\n    S: 250-AUTH", "").partition("XCLIENT")[2].partition("MAIL")[2]


def test_swaks_in_several_commands(node: NodeProcess, swaks: Swaks) -> None:
    mailbox = node.new_mailbox()
    said = swaks(
        node.doors[-2][1], mailbox, PLAIN, "--xclient-addr", "IPV6:2001:db8::7", "--xclient-name", "[UNAVAILABLE]",
        "--xclient-delim", "--xclient-helo", "spike.example.org", "--xclient-proto", "ESMTP",
    )  # fmt: skip

    assert said.count("220 glass.test ESMTP") == 3
    (arrived,) = node.wait_for_mail(mailbox)
    assert b"([IPv6:2001:db8::7])" in arrived


def test_who_is_not_named_is_not_offered_it(node: NodeProcess, swaks: Swaks) -> None:
    said = swaks(
        node.doors[-2][1], "x@here.test", PLAIN, "--xclient-addr", "192.0.2.7",
        "--local-interface", "127.0.0.2", expect=(33,),
    )  # fmt: skip
    assert "did not advertise XCLIENT" in said
