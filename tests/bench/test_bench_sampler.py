"""The sampler: whose code a thread is in, whether it is at work, and how its time is shared out."""

from __future__ import annotations

import hashlib
import sys
import threading

import pytest

from sampler import ROOMS, Sampler, at_work, place_of, room_of, short


@pytest.mark.parametrize(
    ("path", "room"),
    [
        ("src/glasspost/protocol/smtp_server.py", "parsing"),
        ("src/glasspost/inbound/session.py", "parsing"),
        ("src/glasspost/inbound/policy.py", "policy"),
        ("src/glasspost/storage/accounts.py", "policy"),
        ("src/glasspost/storage/database.py", "storage"),
        ("src/glasspost/storage/transcripts.py", "transcripts"),
        ("src/glasspost/outbound/scheduler.py", "delivery"),
        ("src/glasspost/net/connection.py", "loop and sockets"),
        ("src/glasspost/cli/serve.py", "loop and sockets"),
        ("src/glasspost/clock.py", "other"),
        ("lib/python3.11/asyncio/events.py", ""),
    ],
)
def test_files_have_their_rooms(path: str, room: str) -> None:
    assert room_of(f"/somewhere/{path}") == room
    assert room in ("", *ROOMS)


def test_the_innermost_frame_of_ours_decides() -> None:
    names: dict[str, object] = {"sys": sys}
    for path in ("a/glasspost/storage/spool.py", "a/glasspost/mail/message.py", "b/json/encoder.py"):
        inner = names.get("call", sys._getframe)
        names = {"sys": sys, "inner": inner}
        exec(compile("def call():\n    return inner()", path, "exec"), names)
    frame = names["call"]()  # type: ignore[operator]
    # Outermost: the encoder; then the message; innermost: the spool.
    assert place_of(frame, "MainThread")[0] == "storage"
    assert place_of(frame, "writer of transcripts.db")[0] == "transcripts"


def test_a_thread_without_code_of_ours() -> None:
    assert place_of(None, "MainThread")[0] == "loop and sockets"
    assert place_of(None, "threads of libraries")[0] == "other"


def test_waiting_is_not_work() -> None:
    assert at_work("R", "")
    assert at_work("S", "protocol/chat.py:Chat.say"), "the look itself has taken the interpreter from it"
    assert not at_work("S", "cli/serve.py:serve"), "the loop waits for the network"
    assert not at_work("S", "storage/database.py:Database._run"), "the writer waits for work"
    assert not at_work("D", "storage/database.py:Database._commit"), "the writer waits for the disk"


def test_pools_are_one_thread() -> None:
    assert (short("MainThread"), short("password_1"), short("writer of spool.db")) == (
        "main",
        "password",
        "writer of spool.db",
    )


def test_a_busy_thread_is_found_and_its_time_is_the_kernels() -> None:
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            hashlib.sha256(b"x" * 100_000).digest()

    busy = threading.Thread(target=work, name="writer of transcripts.db")
    sampler = Sampler()
    busy.start()
    try:
        sampler.start()
        over.wait(0.3)
        sampler.stop()
    finally:
        over.set()
        busy.join()
    mine = {room: used for (thread, room), used in sampler.rooms.items() if thread == "writer of transcripts.db"}
    assert set(mine) == {"other"}
    assert 0 < mine["other"] < 1e9
    assert sys.getswitchinterval() == pytest.approx(0.005)
