"""A door that writes a mail: the board runs this file after each start. Fill in the five names."""

from send_mail import MailError, send_mail
from wifi import join, set_clock

SSID, PASSWORD = "my network", "its password"
SERVER, SENDER, RECIPIENTS = "192.168.1.2", "door@example.org", ["anna@example.org", "ben@example.org"]


def lines():
    """The text, made line by line: it never stands in memory as a whole."""
    yield "The door was opened."
    yield ""
    yield "-- your ESP8266"


address = join(SSID, PASSWORD)
set_clock()
try:
    refused = send_mail(SERVER, SENDER, RECIPIENTS, "Door opened", lines(), hello=f"[{address}]", talk=print)
    for recipient in refused:
        print("not sent to", recipient, "because:", refused[recipient])
except MailError as error:
    print("not sent:", error)
