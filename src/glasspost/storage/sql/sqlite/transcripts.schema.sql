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

-- name: m002
-- How a conversation went, for lists: counted as its segments come.
ALTER TABLE conversation ADD COLUMN taken INTEGER NOT NULL DEFAULT 0;   -- messages accepted, or passed on
ALTER TABLE conversation ADD COLUMN queue INTEGER NOT NULL DEFAULT 0;   -- the last message accepted
ALTER TABLE conversation ADD COLUMN refusal TEXT NOT NULL DEFAULT '';   -- the codes of the last refusal
-- What became of a recipient where the talks do not tell: storage/fates.py.
CREATE TABLE fate (
    id           INTEGER PRIMARY KEY,
    queue        INTEGER NOT NULL,
    at           REAL    NOT NULL,
    recipient    TEXT    NOT NULL,
    what         TEXT    NOT NULL,
    reply        TEXT    NOT NULL,
    host         TEXT    NOT NULL,
    conversation INTEGER NOT NULL,           -- 0: none
    due          REAL    NOT NULL,           -- 0: no further attempt
    why          TEXT    NOT NULL,
    other        INTEGER NOT NULL            -- the report on this message; of a report, the message
) STRICT;
CREATE INDEX fate_queue ON fate (queue);
-- The index: which words stand in which segment, by where they stand. It keeps the words' places only, not the words.
-- Its rows come in the order of segments, in whole flushes: a log-structured index takes that without looking back.
CREATE VIRTUAL TABLE clue USING fts5(
    sender, recipient, message_id, subject, reply, peer,
    content = '', contentless_delete = 1,
    tokenize = "unicode61 remove_diacritics 2 tokenchars '.-_+=!#$%&*/?^`{|}~'"
);
INSERT INTO clue (clue, rank) VALUES ('automerge', 16);

-- name: m003
-- What was heard while the node was too busy to write talks and an index: as it was handed over, until there is time.
CREATE TABLE backlog (
    id    INTEGER PRIMARY KEY,
    heard BLOB    NOT NULL                   -- storage/backlog.py
) STRICT;
