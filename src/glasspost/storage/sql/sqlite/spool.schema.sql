-- The spool and the mailboxes: one file, because a message into a mailbox must be one commit with its acceptance.

-- name: m001
-- A recipient's life. `state`: 0 waiting, 1 claimed, 2 held. Delivered, failed and expired recipients are deleted:
-- what became of them is in the transcripts.
--   (accepted)  -> 0 or 1     in the commit that makes the 250 true
--   0 -> 1      claim         `due` becomes the end of the lease; a node that dies lets it pass, and 1 counts as 0
--   1 -> (gone) settle        delivered or failed; a bounce is inserted in the same commit
--   1 -> 0      deferred      `due` becomes the next attempt; attempts + 1
--   0,1 -> 2    hold          `due` is kept aside from the index until release
--   0,2 -> 0    bounce        `due` becomes now, for the next claim to grant the wish; 1, and 2 that a node has not
--                             given back, become 1: delivered it is gone, deferred it is claimed again for its wish
--   2 -> 0      release (2 -> 1 where the node that had it when it was held has not given it back yet)
-- `generation` grows with every claim; a settle with an old one changes nothing.
CREATE TABLE message (
    id           INTEGER PRIMARY KEY,
    arrived      REAL    NOT NULL,
    reverse_path TEXT    NOT NULL,           -- empty: the null reverse-path
    body         TEXT    NOT NULL,           -- 7BIT, 8BITMIME, BINARYMIME
    flags        INTEGER NOT NULL,           -- 1: SMTPUTF8 was said; 2: has octets above 127; 4: REQUIRETLS was said; 8: TLS-Required: No
    ret          TEXT    NOT NULL,
    envid        TEXT    NOT NULL,
    size         INTEGER NOT NULL,           -- octets, head included
    head         BLOB    NOT NULL,           -- the trace header we put on top
    conversation TEXT    NOT NULL,
    refs         INTEGER NOT NULL            -- recipients waiting and deposits made; at 0 the message goes
) STRICT;
-- A body's n-th piece of 256 KB has the id (message id << 12) + n.
CREATE TABLE chunk (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
-- A message's n-th recipient has the id (message id << 12) + n.
CREATE TABLE recipient (
    id           INTEGER PRIMARY KEY,
    address      TEXT    NOT NULL,
    domain       TEXT    NOT NULL,           -- comparable form, for routing and for `queue list`
    notify       INTEGER NOT NULL,
    orcpt        TEXT    NOT NULL,
    state        INTEGER NOT NULL,
    due          REAL    NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    generation   INTEGER NOT NULL DEFAULT 0,
    claimed_by   TEXT    NOT NULL DEFAULT '',
    last_attempt REAL    NOT NULL DEFAULT 0,
    last_reply   TEXT    NOT NULL DEFAULT '',
    last_host    TEXT    NOT NULL DEFAULT '',
    conversation TEXT    NOT NULL DEFAULT '', -- of the last attempt
    doubtful     INTEGER NOT NULL DEFAULT 0,  -- attempts that may have arrived although we do not know it
    delay_told   INTEGER NOT NULL DEFAULT 0,
    wish         TEXT    NOT NULL DEFAULT ''  -- the postmaster's, for the next claim: 'bounce' or 'retry'
) STRICT;
CREATE INDEX recipient_due ON recipient (due) WHERE state < 2;
-- A maildrop is one contiguous range, in order of arrival.
CREATE TABLE deposit (
    account_id   INTEGER NOT NULL,
    message_id   INTEGER NOT NULL,
    forward_path TEXT    NOT NULL,
    octets       INTEGER NOT NULL,           -- as handed out: with Return-Path and Delivered-To
    PRIMARY KEY (account_id, message_id)
) STRICT, WITHOUT ROWID;
-- Large messages are stored piece by piece while they arrive; one that never got its 250 is found here after a crash.
CREATE TABLE draft (
    id INTEGER PRIMARY KEY
) STRICT;
-- Attempts that may have arrived although no answer came, or none was kept: the reason why a recipient may have got
-- a message twice. Kept when the recipient itself is gone.
CREATE TABLE doubt (
    recipient_id INTEGER NOT NULL,
    address      TEXT    NOT NULL,
    noted        REAL    NOT NULL,
    reason       TEXT    NOT NULL
) STRICT;
CREATE INDEX doubt_noted ON doubt (noted);

-- name: m002
-- A message as it is accepted, in one row: itself, its body, its first recipient, its first deposit (NULL where there
-- is none). A whole batch of them is then one statement, which is a transaction of its own: one trip of the writer
-- thread into SQLite instead of a dozen, each of which would wait for the interpreter (docs/performance.md).
CREATE VIEW arrival AS
SELECT id, arrived, reverse_path, body, flags, ret, envid, size, head, conversation, refs, NULL AS data,
    NULL AS address, NULL AS domain, NULL AS notify, NULL AS orcpt, NULL AS state, NULL AS due, NULL AS claimed_by,
    NULL AS generation, NULL AS account_id, NULL AS forward_path, NULL AS octets
FROM message;
CREATE TRIGGER arrival_comes INSTEAD OF INSERT ON arrival BEGIN
    INSERT INTO message (id, arrived, reverse_path, body, flags, ret, envid, size, head, conversation, refs)
    VALUES (NEW.id, NEW.arrived, NEW.reverse_path, NEW.body, NEW.flags, NEW.ret, NEW.envid, NEW.size, NEW.head,
        NEW.conversation, NEW.refs);
    INSERT INTO chunk (id, data) SELECT NEW.id << 12, NEW.data WHERE NEW.data IS NOT NULL;
    INSERT INTO recipient (id, address, domain, notify, orcpt, state, due, claimed_by, generation)
    SELECT NEW.id << 12, NEW.address, NEW.domain, NEW.notify, NEW.orcpt, NEW.state, NEW.due, NEW.claimed_by,
        NEW.generation WHERE NEW.address IS NOT NULL;
    INSERT INTO deposit (account_id, message_id, forward_path, octets)
    SELECT NEW.account_id, NEW.id, NEW.forward_path, NEW.octets WHERE NEW.account_id IS NOT NULL
    ON CONFLICT DO NOTHING;
END;

-- name: m003
-- The destination (outbound/routes.py, Route.key) that a waiting recipient could not be brought to, because it was out of
-- reach: when it is back, it fetches all of them. The index has only those: mail that is brought at once never touches it.
ALTER TABLE recipient ADD COLUMN stranded TEXT NOT NULL DEFAULT '';
CREATE INDEX recipient_stranded ON recipient (stranded, id) WHERE state = 0 AND stranded <> '';

-- name: m004
-- What waits, by domain: `queue list --summary` counts a million of them in the index alone. It has no claimed ones, so
-- mail that is brought at once never touches it; those are found by their state in the other index, and looked up.
CREATE INDEX recipient_pile ON recipient (domain, state, due, attempts) WHERE state <> 1;
DROP INDEX recipient_due;
CREATE INDEX recipient_due ON recipient (due, state) WHERE state < 2;

-- name: m005
-- Mail that comes for a destination which rests is marked with it as it is accepted.
DROP TRIGGER arrival_comes;
DROP VIEW arrival;
CREATE VIEW arrival AS
SELECT id, arrived, reverse_path, body, flags, ret, envid, size, head, conversation, refs, NULL AS data,
    NULL AS address, NULL AS domain, NULL AS notify, NULL AS orcpt, NULL AS state, NULL AS due, NULL AS claimed_by,
    NULL AS generation, NULL AS stranded, NULL AS account_id, NULL AS forward_path, NULL AS octets
FROM message;
CREATE TRIGGER arrival_comes INSTEAD OF INSERT ON arrival BEGIN
    INSERT INTO message (id, arrived, reverse_path, body, flags, ret, envid, size, head, conversation, refs)
    VALUES (NEW.id, NEW.arrived, NEW.reverse_path, NEW.body, NEW.flags, NEW.ret, NEW.envid, NEW.size, NEW.head,
        NEW.conversation, NEW.refs);
    INSERT INTO chunk (id, data) SELECT NEW.id << 12, NEW.data WHERE NEW.data IS NOT NULL;
    INSERT INTO recipient (id, address, domain, notify, orcpt, state, due, claimed_by, generation, stranded)
    SELECT NEW.id << 12, NEW.address, NEW.domain, NEW.notify, NEW.orcpt, NEW.state, NEW.due, NEW.claimed_by,
        NEW.generation, NEW.stranded WHERE NEW.address IS NOT NULL;
    INSERT INTO deposit (account_id, message_id, forward_path, octets)
    SELECT NEW.account_id, NEW.id, NEW.forward_path, NEW.octets WHERE NEW.account_id IS NOT NULL
    ON CONFLICT DO NOTHING;
END;
