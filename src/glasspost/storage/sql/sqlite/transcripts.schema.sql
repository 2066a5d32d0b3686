-- What was said: every conversation, as compressed talks. A file of its own, written without waiting for the disk, so
-- that it is never in a reply's way.

-- name: m001
CREATE TABLE conversation (
    id       INTEGER PRIMARY KEY,            -- the number behind c0...; grows with time
    kind     TEXT    NOT NULL,               -- smtp-in, smtp-out, pop3
    started  REAL    NOT NULL,
    ended    REAL    NOT NULL,               -- 0: still going on
    local    TEXT    NOT NULL,               -- our end, host:port
    peer     TEXT    NOT NULL,               -- the other end
    verdict  TEXT    NOT NULL,               -- how it ended, in a few words
    lines    INTEGER NOT NULL,               -- heard and said, without notes
    octets   INTEGER NOT NULL                -- of them
) STRICT;
CREATE INDEX conversation_open ON conversation (id) WHERE ended = 0;
-- A conversation's talk is its segments in order of id. Ids only grow: what is new since one is found by it.
CREATE TABLE segment (
    id           INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL,
    talk         BLOB    NOT NULL            -- with times; zlib
) STRICT;
CREATE INDEX segment_conversation ON segment (conversation);
-- Which conversations a message was spoken of in: how it came in, each attempt to hand it on.
CREATE TABLE mention (
    queue        INTEGER NOT NULL,           -- the number behind q0...
    conversation INTEGER NOT NULL,
    PRIMARY KEY (queue, conversation)
) STRICT, WITHOUT ROWID;
