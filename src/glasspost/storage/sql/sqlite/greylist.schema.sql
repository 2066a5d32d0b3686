-- Who has been asked to come again, and who came. A file of its own: losing it costs some senders some minutes.

-- name: m001
CREATE TABLE triplet (
    network   TEXT NOT NULL,                 -- the client's: IPv4 /24, IPv6 /64
    sender    TEXT NOT NULL,                 -- in comparable form; empty: the null sender
    recipient TEXT NOT NULL,
    first     REAL NOT NULL,                 -- when it was first seen
    passed    REAL NOT NULL,                 -- when it last got through; 0: not yet
    PRIMARY KEY (network, sender, recipient)
) STRICT, WITHOUT ROWID;
-- Networks from which so much got through that they are no longer asked.
CREATE TABLE network (
    network   TEXT PRIMARY KEY,
    passes    INTEGER NOT NULL,              -- different triplets that got through
    seen      REAL NOT NULL
) STRICT, WITHOUT ROWID;
