"""Join a Wi-Fi network, and set the clock: what an ESP8266 does before it can send mail.

Lives here: `network` and network time, which only a board has.
Does not live here: mail (send_mail.py), which runs anywhere.
"""

import time

import network
import ntptime


def join(ssid, password, seconds=20):
    """Join the network and return our address, as text. Raises OSError if it takes longer than `seconds`."""
    station = network.WLAN(network.STA_IF)
    station.active(True)
    if not station.isconnected():
        station.connect(ssid, password)
    start = time.ticks_ms()
    while not station.isconnected():
        if time.ticks_diff(time.ticks_ms(), start) > seconds * 1000:
            raise OSError(f"no Wi-Fi: {ssid} (status {station.status()})")
        time.sleep_ms(50)
    return station.ifconfig()[0]


def set_clock(server=None):
    """Set the clock to UTC by network time. Returns whether that worked; else mails carry no Date."""
    if server:
        ntptime.host = server
    try:
        ntptime.settime()
    except OSError:
        return False
    return True
