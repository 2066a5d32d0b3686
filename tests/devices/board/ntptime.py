"""`ntptime` for boards without a radio: only one time server answers."""

host = "pool.ntp.org"


def settime():
    if host != "127.0.0.1":
        raise OSError(110)
