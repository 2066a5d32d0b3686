"""`socket` for MicroPython's WebAssembly build, which has none: calls that an ESP8266 has, over the bridge.

Lives here: what Python sees of the bridge. It has no more methods than the board, so nothing can be used that a
board lacks.
Does not live here: the bridge itself (../micropython.mjs). The Unix port brings its own `socket`.
"""

import binascii

import _bridge  # made by micropython.mjs

AF_INET = 2
SOCK_STREAM = 1


def _call(name, *words):
    answer = _bridge.call(name, *words)
    if answer.errno:
        raise OSError(answer.errno)
    return answer.value


def getaddrinfo(host, port, family=0, kind=0, protocol=0, flags=0):
    return [(AF_INET, SOCK_STREAM, 0, "", (_call("resolve", host), port))]


class socket:
    def __init__(self, family=AF_INET, kind=SOCK_STREAM):
        self._seconds = None
        self._id = None

    def settimeout(self, seconds):
        self._seconds = seconds

    def connect(self, address):
        self._id = _call("connect", address[0], address[1], self._seconds)

    def send(self, octets):
        return _call("send", self._id, binascii.hexlify(octets).decode(), self._seconds)

    def recv(self, most):
        return binascii.unhexlify(_call("recv", self._id, most, self._seconds))

    def close(self):
        if self._id is not None:
            _call("close", self._id)
