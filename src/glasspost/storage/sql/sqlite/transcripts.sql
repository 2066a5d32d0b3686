-- name: put_conversation
-- The first part of a conversation makes its row, later ones add to it.
INSERT INTO conversation (id, kind, started, ended, local, peer, verdict, lines, octets, taken, queue, refusal)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    ended = excluded.ended, verdict = excluded.verdict,
    lines = lines + excluded.lines, octets = octets + excluded.octets, taken = taken + excluded.taken,
    queue = CASE excluded.queue WHEN 0 THEN queue ELSE excluded.queue END,
    refusal = CASE excluded.refusal WHEN '' THEN refusal ELSE excluded.refusal END

-- name: put_segment
INSERT INTO segment (id, conversation, talk) VALUES (?, ?, ?)

-- name: put_clues
-- All of a flush in one statement: no turn is taken from whoever answers clients meanwhile.
INSERT INTO clue (rowid, sender, recipient, message_id, subject, reply, peer)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM json_each(?)

-- name: put_fate
INSERT INTO fate (queue, at, recipient, what, reply, host, conversation, due, why, other)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_mention
INSERT OR IGNORE INTO mention (queue, conversation) VALUES (?, ?)

-- name: largest_id
SELECT max(id) FROM conversation

-- name: end_orphans
-- Conversations that a node which is no more was holding.
UPDATE conversation SET ended = started, verdict = ? WHERE ended = 0

-- name: oldest
-- The oldest that are over: what retention looks at, a few at a time.
SELECT id, started FROM conversation WHERE ended > 0 ORDER BY id LIMIT ?

-- name: drop_clues
DELETE FROM clue WHERE rowid IN (SELECT id FROM segment WHERE conversation IN
    (SELECT id FROM conversation WHERE ended > 0 ORDER BY id LIMIT ?))

-- name: drop_segments
DELETE FROM segment WHERE conversation IN
    (SELECT id FROM conversation WHERE ended > 0 ORDER BY id LIMIT ?)

-- name: drop_conversations
DELETE FROM conversation WHERE id IN
    (SELECT id FROM conversation WHERE ended > 0 ORDER BY id LIMIT ?)

-- name: drop_mentions
-- Queue ids and conversation ids grow with the same clock, so a walk along the index to ?1 finds all that can be stale.
DELETE FROM mention WHERE queue <= ?1 AND conversation <= ?1
    AND NOT EXISTS (SELECT 1 FROM conversation c WHERE c.id = mention.conversation)

-- name: drop_fates
-- A message's fates go when no conversation about it is left.
DELETE FROM fate WHERE queue <= ?1 AND NOT EXISTS (SELECT 1 FROM mention m WHERE m.queue = fate.queue)

-- name: octets_used
SELECT (p.page_count - f.freelist_count) * s.page_size
FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s

-- name: conversations
-- Newest first. Empty words let everything pass. A peer is named by its address, with or without its port.
SELECT id, kind, started, ended, local, peer, verdict, lines, octets, taken, queue, refusal FROM conversation
WHERE id < ?1 AND (?2 = '' OR kind = ?2)
    AND (?3 = '' OR peer = ?3 OR substr(peer, 1, length(?3) + 1) = ?3 || ':' OR substr(peer, 1, length(?3) + 3) = '[' || ?3 || ']:')
ORDER BY id DESC LIMIT ?4

-- name: conversation
SELECT id, kind, started, ended, local, peer, verdict, lines, octets, taken, queue, refusal FROM conversation WHERE id = ?

-- name: of_queue_id
SELECT c.id, kind, started, ended, local, peer, verdict, lines, octets, taken, c.queue, refusal
FROM mention m JOIN conversation c ON c.id = m.conversation WHERE m.queue = ? ORDER BY c.id

-- name: segments
SELECT id, talk FROM segment WHERE conversation = ? ORDER BY id

-- name: segments_until
SELECT talk FROM segment WHERE conversation = ? AND id <= ? ORDER BY id

-- name: newest_segment
SELECT coalesce(max(id), 0) FROM segment

-- name: segments_since
SELECT s.id, s.talk, c.id, c.kind, c.started, c.ended, c.local, c.peer, c.verdict, c.lines, c.octets, c.taken, c.queue,
    c.refusal
FROM segment s JOIN conversation c ON c.id = s.conversation WHERE s.id > ? ORDER BY s.id LIMIT ?

-- name: segment_count
SELECT count(*) FROM segment WHERE conversation = ?

-- name: segments_around
-- So many segments of a conversation before and behind one of them.
SELECT id, talk FROM segment WHERE conversation = ?1 AND id >= (
    SELECT min(id) FROM (SELECT id FROM segment WHERE conversation = ?1 AND id <= ?2 ORDER BY id DESC LIMIT ?3))
ORDER BY id LIMIT 2 * ?3

-- name: segments_before
-- For reading all of them, the newest first, a few at a time: a long look must not keep the WAL from being emptied.
SELECT id, conversation, talk FROM segment WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 500

-- name: clues
-- Segments in which it stands, the newest first.
SELECT clue.rowid, s.conversation FROM clue JOIN segment s ON s.id = clue.rowid
WHERE clue MATCH ?1 AND clue.rowid >= ?2 ORDER BY clue.rowid DESC

-- name: first_segment_of_some
-- The first segment of any of the conversations that begin at a number: flushes follow the order of conversations
-- closely, so it bounds all later ones.
SELECT min(s.id) FROM (SELECT id FROM conversation WHERE id >= ? ORDER BY id LIMIT 10000) c
JOIN segment s ON s.conversation = c.id

-- name: conversation_near
SELECT id, started FROM conversation WHERE id >= ? ORDER BY id LIMIT 1

-- name: conversation_bounds
-- Each by itself: SQLite looks one of them up, and reads the whole table for two.
SELECT (SELECT min(id) FROM conversation), (SELECT max(id) FROM conversation)

-- name: fates
SELECT queue, at, recipient, what, reply, host, conversation, due, why, other FROM fate WHERE queue = ? ORDER BY at, id

-- name: numbers
SELECT id FROM conversation WHERE id >= ? AND id < ? AND instr(?, kind) ORDER BY id DESC LIMIT 1000

-- name: put_backlog
INSERT INTO backlog (heard) VALUES (?)

-- name: first_backlog
SELECT id, heard FROM backlog ORDER BY id LIMIT 1

-- name: drop_backlog
DELETE FROM backlog WHERE id = ?
