"""glasspost: a mail server made of glass. SMTP in and out, a durable queue, mailboxes, POP3, every word on record."""

__version__ = "0.1.0"
