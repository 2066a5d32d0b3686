"""Haraka as a peer, from npm: its outbound queue, which writes and fsyncs each message.

Lives here: its configuration and the one plugin it needs to relay for everybody without DNS.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from server import ACCEPT, RELAY, Server

_MODULES = Path(__file__).resolve().parents[1] / "results" / "peers" / "haraka" / "node_modules"

_PLUGIN = """\
exports.hook_lookup_rdns = (next) => next(OK, 'localhost');
exports.hook_connect = (next, connection) => { connection.relaying = true; next(); };
exports.hook_mail = (next) => next(OK);
exports.hook_rcpt = (next) => next(OK);
exports.hook_get_mx = (next) => next(OK, { priority: 0, exchange: '127.0.0.1', port: %d });
"""


class Haraka(Server):
    name = "haraka"
    does = frozenset({ACCEPT, RELAY})
    share = 0.5

    @classmethod
    def missing(cls) -> str:
        if not shutil.which("node"):
            return "Haraka needs node"
        return "" if (_MODULES / "Haraka").exists() else "Haraka is not there: sh bench/peers.sh --haraka"

    @classmethod
    def version(cls) -> str:
        return "Haraka " + str(json.loads((_MODULES / "Haraka" / "package.json").read_text())["version"])

    def prepare(self) -> list[list[str]]:
        config = self.directory / "config"
        for directory in (config, self.directory / "plugins", self.directory / "queue"):
            directory.mkdir(exist_ok=True)
        accept_only = "true" if self.setup.mode == ACCEPT else "false"
        files = {
            "me": "bench.test\n",
            "smtp.ini": f"listen=127.0.0.1:{self.port}\n",
            "log.ini": "[main]\nlevel=warn\n",
            "plugins": "bench\n",
            "outbound.ini": f"disabled={accept_only}\nconcurrency_max=20\nenable_tls=false\nlocal_mx_ok=true\n",
        }
        for name, text in files.items():
            (config / name).write_text(text)
        whole = (_MODULES / "Haraka" / "config" / "connection.ini").read_text().splitlines()
        lines = ["bytes=52428800" if line.startswith("bytes=") else line for line in whole]
        (config / "connection.ini").write_text("\n".join(lines) + "\n")
        (self.directory / "plugins" / "bench.js").write_text(_PLUGIN % (self.setup.target or 25))
        os.environ["UV_THREADPOOL_SIZE"] = "16"  # its fsyncs wait in libuv's pool
        return [["node", str(_MODULES / "Haraka" / "bin" / "haraka"), "-c", str(self.directory)]]

    def stored(self) -> int:
        return sum(not name.startswith(("__", ".")) for name in os.listdir(self.directory / "queue"))
