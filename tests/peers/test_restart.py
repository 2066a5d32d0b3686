"""A node that is reloaded or restarted while it is in use: real signals, real processes, nobody refused."""

from __future__ import annotations

import os
import pwd
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from letters import PLAIN
from node_process import PASSWORD, NodeProcess, until

GLASSPOST = Path(sys.executable).with_name("glasspost")
NewNode = Callable[..., NodeProcess]


def greeting(port: int) -> str:
    """What a new connection is greeted with."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection, connection.makefile("rb") as lines:
        return lines.readline().decode()


class Sender(threading.Thread):
    """Sends one message after the other, each over a connection of its own, until it is told to stop."""

    def __init__(self, port: int, recipient: str) -> None:
        super().__init__()
        self._port, self._recipient = port, recipient
        self.enough = threading.Event()
        self.acknowledged = 0
        self.refused: list[str] = []

    def run(self) -> None:
        while not self.enough.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self._port, "client.test", 60) as client:
                    client.sendmail("bob@src.test", [self._recipient], PLAIN)
                    self.acknowledged += 1
            except (OSError, smtplib.SMTPException) as error:
                self.refused.append(repr(error))


def test_nobody_is_refused_while_one_node_takes_the_place_of_another(new_node: NewNode) -> None:
    node = new_node()
    mailbox = node.new_mailbox()
    pid = node.pid
    senders = [Sender(node.mx, mailbox) for _ in range(3)]
    for sender in senders:
        sender.start()
    try:
        for _ in range(2):
            before = sum(sender.acknowledged for sender in senders)
            assert "Restarted" in node.tell("restart")
            until(lambda: sum(sender.acknowledged for sender in senders) > before, "more mail", 30)  # noqa: B023
    finally:
        for sender in senders:
            sender.enough.set()
        for sender in senders:
            sender.join(60)
    assert [sender.refused for sender in senders] == [[], [], []]
    assert node.count(mailbox) == sum(sender.acknowledged for sender in senders)
    assert node.pid == pid
    assert node.running


def test_a_message_under_way_is_finished_by_the_old_node_while_new_callers_wait(new_node: NewNode) -> None:
    node = new_node()
    mailbox = node.new_mailbox()
    slow = smtplib.SMTP("127.0.0.1", node.mx, "client.test", 60)
    slow.ehlo()
    slow.mail("bob@src.test")
    slow.rcpt(mailbox)
    assert slow.docmd("DATA")[0] == 354
    restart = node.begin("restart")
    until(lambda: not (node.data / "control").exists(), "closed door", 30)  # it accepts nobody more
    greeted: list[str] = []
    caller = threading.Thread(target=lambda: greeted.append(greeting(node.mx)))
    caller.start()
    slow.send(PLAIN + b"\r\n.\r\n")
    assert slow.getreply()[0] == 250
    slow.close()
    caller.join(60)
    assert greeted
    assert greeted[0].startswith("220 glass.test")
    assert restart.wait(60) == 0
    assert node.count(mailbox) == 1


def test_a_configuration_that_is_wrong_stops_the_restart_and_not_the_node(new_node: NewNode) -> None:
    node = new_node()
    node.configure("smtp.max_erors = 3")
    code, complaint = node.fails("restart")
    assert code == 1
    assert "max_erors" in complaint
    assert 'Did you mean "max_errors"' in complaint
    said = greeting(node.mx)
    assert said.startswith("220")


def test_reload_tells_what_it_took_and_what_waits(new_node: NewNode) -> None:
    node = new_node()
    node.configure("smtp.max_message_size = 54321", "transcripts.keep = 99")
    assert node.ask("reload") == {"taken": ["smtp.max_message_size"], "waiting": ["transcripts.keep"]}
    assert "transcripts.keep" in node.tell("reload")
    with smtplib.SMTP("127.0.0.1", node.mx, "client.test", 20) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "54321"


def test_sighup_reloads_and_a_faulty_file_changes_nothing(new_node: NewNode) -> None:
    node = new_node()
    with smtplib.SMTP("127.0.0.1", node.mx, "client.test", 20) as client:
        node.configure("smtp.max_message_size = 54321")
        node.hang_up()
        until(lambda: '"reloaded"' in node.log, "word in the log", 20)
        node.configure("smtp.max_message_size = oops")
        node.hang_up()
        until(lambda: "not reloaded, everything is as before" in node.log, "word in the log", 20)
        assert client.noop()[0] == 250
    with smtplib.SMTP("127.0.0.1", node.mx, "client.test", 20) as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "54321"


def test_without_a_node_there_is_nothing_to_reload(new_node: NewNode) -> None:
    node = new_node()
    node.stop()
    for command in ("reload", "restart"):
        code, complaint = node.fails(command)
        assert code == 3
        assert complaint.startswith("glasspost: no node is running on ")
        assert len(complaint.splitlines()) == 1


def test_sockets_of_systemd_are_listened_on_by_name_and_by_place(tmp_path: Path) -> None:
    """As systemd does it: descriptors from 3 on, LISTEN_FDS, LISTEN_FDNAMES, and LISTEN_PID of the very process.
    Whoever calls before the node is there is answered when it is."""
    named, placed = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    place = placed.getsockname()[1]
    (tmp_path / "node.toml").write_text(
        f'[node]\nhostname = "glass.test"\n[[listener]]\nrole = "mx"\nport = 1\nsocket = "smtp"\n'
        f'[[listener]]\nrole = "pop3"\nport = {place}\n'
    )
    starter = (
        "import fcntl, os, sys; one, two = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 50) for fd in sys.argv[1:3]);"
        "os.dup2(one, 3); os.dup2(two, 4);"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='smtp:unknown');"
        "os.execv(sys.argv[3], sys.argv[3:])"
    )
    early = socket.create_connection(named.getsockname(), 60)
    command = [GLASSPOST, "serve", "--config", tmp_path / "node.toml", "--data", tmp_path / "data"]
    descriptors = (named.fileno(), placed.fileno())
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", starter, *map(str, descriptors), *command],
            pass_fds=descriptors, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    try:
        with early.makefile("rb") as lines:
            assert lines.readline().startswith(b"220 glass.test")
        said = greeting(place)
        assert said.startswith("+OK")
    finally:
        early.close()
        process.terminate()
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
        named.close()
        placed.close()


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@root_only
def test_a_node_started_as_root_binds_reads_and_becomes_its_user(
    open_folder: Path, everybodys_glasspost: list[str]
) -> None:
    """A port below 1024, a password file that only root may read, and a data folder that is not there yet."""
    port = next(port for port in range(1000, 700, -1) if _is_free(port))
    secret = open_folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    node = NodeProcess(
        open_folder,
        f'[[listener]]\nrole = "mx"\nport = {port}\n'
        f'[[smarthost]]\nhost = "127.0.0.1"\nport = 9\nusername = "u"\npassword_file = "{secret}"',
        top='user = "nobody"',
        command=everybodys_glasspost,
    )
    node.start()
    try:
        status = Path(f"/proc/{node.pid}/status").read_text()
        found = {line.split(":")[0]: line.split()[1:] for line in status.splitlines() if ":" in line}
        assert set(found["Uid"]) == {str(node.data.stat().st_uid)} != {"0"}
        assert "0" not in found["Gid"] + found["Groups"]
        assert int(found["CapEff"][0], 16) == 0
        assert {path.stat().st_uid for path in node.data.iterdir()} == {node.data.stat().st_uid}
        assert {oct(path.stat().st_mode & 0o077) for path in node.data.glob("*.db*")} == {"0o0"}
        said = greeting(port)
        assert said.startswith("220")
        # The password is out of its reach now: a reload that needs it says so, and changes nothing.
        code, complaint = node.fails("reload")
        assert code == 4
        assert "password_file" in complaint
    finally:
        node.stop()


@root_only
def test_root_follows_no_link_that_the_user_laid_into_the_data_folder(
    open_folder: Path, everybodys_glasspost: list[str]
) -> None:
    precious = open_folder / "precious"
    precious.write_text("do not lose me")
    precious.chmod(0o600)
    data = open_folder / "data"
    data.mkdir(0o700)
    (data / "node.lock").symlink_to(precious)
    nobody = pwd.getpwnam("nobody")
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    node = NodeProcess(open_folder, top='user = "nobody"', command=everybodys_glasspost)
    with pytest.raises(AssertionError, match=r"node\.lock"):
        node.start()
    assert precious.read_text() == "do not lose me"


def test_secrets_that_everybody_can_read_stop_the_start(open_folder: Path) -> None:
    secret = open_folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    node = NodeProcess(open_folder, f'[[smarthost]]\nhost = "127.0.0.1"\nusername = "u"\npassword_file = "{secret}"')
    with pytest.raises(AssertionError, match=r"Everybody on this machine can read .*password: chmod o-rwx"):
        node.start()
    secret.chmod(0o600)
    node.start().stop()


def test_a_data_folder_that_everybody_can_write_stops_the_start(open_folder: Path) -> None:
    (open_folder / "data").mkdir()
    (open_folder / "data").chmod(0o777)
    node = NodeProcess(open_folder)
    with pytest.raises(AssertionError, match="everybody can change the data folder"):
        node.start()


def test_config_show_never_prints_a_secret(open_folder: Path) -> None:
    (open_folder / "n.toml").write_text('[[smarthost]]\nhost = "192.0.2.1"\nusername = "u"\npassword = "tulip-77"\n')
    environment = {**os.environ, "GLASSPOST_SMARTHOST__0__PASSWORD": "tulip-88"}
    command = [GLASSPOST, "config", "show", "--config", open_folder / "n.toml"]
    for env in (None, environment):
        said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
        assert "tulip" not in said
        assert "[[smarthost]]" in said


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
