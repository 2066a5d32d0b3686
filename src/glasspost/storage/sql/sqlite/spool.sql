-- The spool's queries, used by storage/bodies.py, spool.py, queue.py and mailboxes.py.

-- name: insert_chunk
INSERT INTO chunk (id, data) VALUES (?, ?)

-- name: replace_chunk
UPDATE chunk SET data = ? WHERE id = ?

-- name: read_chunk
SELECT data FROM chunk WHERE id = ?

-- name: read_chunks
SELECT data FROM chunk WHERE id >= ? AND id < ? ORDER BY id

-- name: count_chunks
SELECT count(*) FROM chunk WHERE id >= ? AND id < ?

-- name: delete_chunks
DELETE FROM chunk WHERE id >= ? AND id < ?

-- name: delete_last_chunks
DELETE FROM chunk WHERE id IN (SELECT id FROM chunk WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?)

-- name: begin_draft
INSERT INTO draft (id) VALUES (?)

-- name: end_draft
DELETE FROM draft WHERE id = ?

-- name: drafts
SELECT id FROM draft

-- name: insert_arrival
-- A message with its body, its first recipient and its first deposit, as far as it has them (spool.schema.sql).
INSERT INTO arrival (id, arrived, reverse_path, body, flags, ret, envid, size, head, conversation, refs, data,
    address, domain, notify, orcpt, state, due, claimed_by, generation, stranded, account_id, forward_path, octets)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_recipient
INSERT INTO recipient (id, address, domain, notify, orcpt, state, due, claimed_by, generation, stranded)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_deposit
-- The same message into the same maildrop twice is one deposit: a crash between deposit and settle adds nothing.
INSERT INTO deposit (account_id, message_id, forward_path, octets) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: due
-- A claimed recipient whose lease has run out is as good as waiting: `due` is then in the past.
SELECT id, address, notify, orcpt, attempts, generation, last_reply, delay_told, wish, doubtful, state, claimed_by,
    due
FROM recipient WHERE state < 2 AND due <= ? ORDER BY due LIMIT ?

-- name: due_for_a_rest
-- The first that are due, with what tells whether they may be put behind the rest of their destination.
SELECT id, CASE WHEN state = 0 AND wish <> 'bounce' THEN stranded ELSE '' END, notify, delay_told,
    CASE stranded WHEN '' THEN 0.0 ELSE (SELECT arrived FROM message WHERE message.id = recipient.id >> 12) END,
    CASE wish WHEN 'retry' THEN due ELSE 0.0 END
FROM recipient WHERE state < 2 AND due <= ? ORDER BY due LIMIT ?

-- name: put_behind
UPDATE recipient SET due = ?, last_reply = coalesce(?, last_reply) WHERE id IN (SELECT value FROM json_each(?))

-- name: stranded
-- Whoever waits for one destination to come back, the longest waiting first.
SELECT id, address, notify, orcpt, attempts, generation, last_reply, delay_told, wish, doubtful, state, claimed_by,
    due
FROM recipient WHERE state = 0 AND stranded = ? AND stranded <> '' ORDER BY id LIMIT ?

-- name: has_stranded
SELECT 1 FROM recipient WHERE state = 0 AND stranded = ? AND stranded <> '' LIMIT 1

-- name: next_due
SELECT min(due) FROM recipient WHERE state < 2

-- name: claim
UPDATE recipient SET state = 1, due = ?, claimed_by = ?, generation = generation + 1
WHERE id IN (SELECT value FROM json_each(?))

-- name: claim_in_doubt
-- The lease of another node has run out: an attempt of its may have been under way, and may have arrived.
UPDATE recipient SET state = 1, due = ?, claimed_by = ?, generation = generation + 1, doubtful = doubtful + 1
WHERE id IN (SELECT value FROM json_each(?))

-- name: message
SELECT id, arrived, reverse_path, body, flags, ret, envid, size, head, conversation FROM message WHERE id = ?

-- name: messages
SELECT id, arrived, reverse_path, body, flags, ret, envid, size, head, conversation FROM message
WHERE id IN (SELECT value FROM json_each(?))

-- name: settle_gone
DELETE FROM recipient WHERE id = ? AND generation = ?

-- name: settle_deferred
-- A hold that came while the attempt was under way stays a hold, and a wish to bounce is granted at once. Where no
-- attempt was made (?2 is 0), what is known of the last one stays, and so does any other wish of the postmaster's.
UPDATE recipient SET state = CASE state WHEN 2 THEN 2 ELSE 0 END, due = CASE wish WHEN 'bounce' THEN ?3 ELSE ?1 END,
    attempts = attempts + ?2,
    last_attempt = CASE ?2 WHEN 0 THEN last_attempt ELSE ?3 END, last_reply = ?4,
    last_host = CASE ?2 WHEN 0 THEN last_host ELSE ?5 END,
    conversation = CASE ?2 WHEN 0 THEN conversation ELSE ?6 END, doubtful = doubtful + ?7, delay_told = ?8,
    wish = CASE WHEN ?2 = 0 OR wish = 'bounce' THEN wish ELSE '' END, claimed_by = '', stranded = ?9
WHERE id = ?10 AND generation = ?11

-- name: drop_refs
UPDATE message SET refs = refs - ? WHERE id = ? RETURNING refs, size

-- name: delete_message
DELETE FROM message WHERE id = ?

-- name: generations
SELECT id, generation FROM recipient WHERE id IN (SELECT value FROM json_each(?))

-- name: delete_listed_recipients
DELETE FROM recipient WHERE id IN (SELECT value FROM json_each(?))

-- name: drop_one_ref
UPDATE message SET refs = refs - 1 WHERE id IN (SELECT value FROM json_each(?))

-- name: delete_listed_messages
DELETE FROM message WHERE refs <= 0 AND id IN (SELECT value FROM json_each(?))

-- name: existing_messages
SELECT id FROM message WHERE id IN (SELECT value FROM json_each(?))

-- name: delete_listed_chunks
DELETE FROM chunk WHERE id IN (SELECT value FROM json_each(?))

-- name: renew
UPDATE recipient SET due = ? WHERE id = ? AND generation = ? AND state = 1

-- name: doubt_claimed
INSERT INTO doubt (recipient_id, address, noted, reason)
SELECT id, address, ?, 'the node died while it may have been under way' FROM recipient
WHERE state = 1 OR claimed_by <> ''

-- name: doubt_one
INSERT INTO doubt (recipient_id, address, noted, reason) VALUES (?, ?, ?, ?)

-- name: forget_doubts
DELETE FROM doubt WHERE noted < ?

-- name: doubts
SELECT recipient_id, address, noted, reason FROM doubt WHERE recipient_id >= ? AND recipient_id < ? ORDER BY noted

-- name: recover
-- The node that claimed these is dead (it held the lock on the data folder). An attempt may have been under way and
-- may have arrived: that is recorded as doubt.
UPDATE recipient SET state = CASE state WHEN 1 THEN 0 ELSE state END, due = min(due, ?), doubtful = doubtful + 1,
    claimed_by = ''
WHERE state = 1 OR claimed_by <> ''

-- name: recipients_of
SELECT id FROM recipient WHERE id >= ? AND id < ?

-- name: wish_of_ours
-- What the postmaster wishes for a recipient that is still this node's; no row where it is not.
SELECT wish FROM recipient WHERE id = ? AND generation = ? AND state = 1

-- name: last_id
SELECT max(coalesce((SELECT max(id) FROM message), 0), coalesce((SELECT max(id) >> 12 FROM recipient), 0),
           coalesce((SELECT max(id) FROM draft), 0))

-- name: queue_list
SELECT r.id, r.address, r.domain, r.state, r.due, r.attempts, r.last_attempt, r.last_reply, r.last_host,
       r.conversation, r.doubtful, m.arrived, m.reverse_path, m.size, m.conversation,
       CASE r.wish WHEN 'bounce' THEN 'bounce' ELSE '' END
FROM recipient r JOIN message m ON m.id = r.id >> 12
WHERE r.id >= ? AND r.id < ? ORDER BY r.id LIMIT ?

-- name: queue_summary
-- Both from indexes, but for a look at each claimed one, which are few (relay.window).
SELECT domain, state, count(*), min(due), max(attempts) FROM recipient INDEXED BY recipient_pile
WHERE state <> 1 GROUP BY domain, state
UNION ALL
SELECT domain, state, count(*), min(due), max(attempts) FROM recipient INDEXED BY recipient_due
WHERE state = 1 AND state < 2 GROUP BY domain
ORDER BY 3 DESC

-- name: queue_of_domain
-- `due >= 0` is always so: it leads to the index where it cannot be named, in a store that is not migrated yet.
SELECT count(*) FILTER (WHERE state < 2), count(*) FILTER (WHERE state = 2), min(due) FILTER (WHERE state < 2), max(attempts)
FROM (
    SELECT state, due, attempts FROM recipient WHERE domain = ?1 AND state <> 1
    UNION ALL
    SELECT state, due, attempts FROM recipient WHERE domain = ?1 AND state = 1 AND state < 2 AND due >= 0
)

-- name: last_heard_of_domain
SELECT last_reply, last_attempt FROM (
    SELECT last_reply, last_attempt FROM recipient WHERE domain = ?1 AND state <> 1
    UNION ALL
    SELECT last_reply, last_attempt FROM recipient WHERE domain = ?1 AND state = 1 AND state < 2 AND due >= 0
)
WHERE last_attempt > 0 ORDER BY last_attempt DESC LIMIT 1

-- name: queue_count
SELECT (SELECT count(*) FROM recipient WHERE state <> 1)
    + (SELECT count(*) FROM recipient WHERE state = 1 AND state < 2 AND due >= 0)

-- name: set_hold
UPDATE recipient SET state = 2 WHERE id >= ? AND id < ? AND state < 2

-- name: set_release
-- One that a node had in hand when it was held, and has not given back yet, is that node's again: its attempt may be
-- under way.
UPDATE recipient SET state = CASE claimed_by WHEN '' THEN 0 ELSE 1 END,
    due = CASE claimed_by WHEN '' THEN ?1 ELSE due END
WHERE id >= ?2 AND id < ?3 AND state = 2

-- name: set_retry
-- Those under way in a node stay as they are: their attempt is now.
UPDATE recipient SET due = ?, wish = CASE wish WHEN '' THEN 'retry' ELSE wish END WHERE id >= ? AND id < ? AND state = 0

-- name: set_bounce
-- One that a node has in hand stays that node's: its attempt may be under way, and a delivery stays a delivery. Only
-- the node knows; it returns at once what it has not begun, and the others where their attempt fails.
UPDATE recipient SET wish = 'bounce', state = CASE claimed_by WHEN '' THEN 0 ELSE 1 END,
    due = CASE claimed_by WHEN '' THEN ?1 ELSE due END
WHERE id >= ?2 AND id < ?3

-- name: count_in_hand
SELECT count(*) FROM recipient WHERE id >= ? AND id < ? AND claimed_by <> ''

-- name: count_recipients
SELECT count(*) FROM recipient WHERE id >= ? AND id < ?

-- name: delete_recipients
DELETE FROM recipient WHERE id >= ? AND id < ?

-- name: deposits
SELECT d.message_id, d.octets, d.forward_path, m.arrived, m.reverse_path, m.size
FROM deposit d JOIN message m ON m.id = d.message_id WHERE d.account_id = ? ORDER BY d.message_id

-- name: maildrop
SELECT message_id, octets, forward_path FROM deposit WHERE account_id = ? ORDER BY message_id

-- name: usage
SELECT count(*), coalesce(sum(octets), 0) FROM deposit WHERE account_id = ?

-- name: delete_deposit
DELETE FROM deposit WHERE account_id = ? AND message_id = ?
