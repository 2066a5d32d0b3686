-- name: put_conversation
-- The first part of a conversation makes its row, later ones add to it.
INSERT INTO conversation (id, kind, started, ended, local, peer, verdict, lines, octets)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    ended = excluded.ended, verdict = excluded.verdict,
    lines = lines + excluded.lines, octets = octets + excluded.octets

-- name: put_segment
INSERT INTO segment (conversation, talk) VALUES (?, ?)

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

-- name: octets_used
SELECT (p.page_count - f.freelist_count) * s.page_size
FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s

-- name: conversations
-- Newest first. Empty words let everything pass. A peer is named by its address, with or without its port.
SELECT id, kind, started, ended, local, peer, verdict, lines, octets FROM conversation
WHERE id < ?1 AND (?2 = '' OR kind = ?2)
    AND (?3 = '' OR peer = ?3 OR substr(peer, 1, length(?3) + 1) = ?3 || ':' OR substr(peer, 1, length(?3) + 3) = '[' || ?3 || ']:')
ORDER BY id DESC LIMIT ?4

-- name: conversation
SELECT id, kind, started, ended, local, peer, verdict, lines, octets FROM conversation WHERE id = ?

-- name: of_queue_id
SELECT c.id, kind, started, ended, local, peer, verdict, lines, octets
FROM mention m JOIN conversation c ON c.id = m.conversation WHERE m.queue = ? ORDER BY c.id

-- name: segments
SELECT talk FROM segment WHERE conversation = ? ORDER BY id

-- name: newest_segment
SELECT coalesce(max(id), 0) FROM segment

-- name: segments_since
SELECT s.id, s.talk, c.id, c.kind, c.started, c.ended, c.local, c.peer, c.verdict, c.lines, c.octets
FROM segment s JOIN conversation c ON c.id = s.conversation WHERE s.id > ? ORDER BY s.id LIMIT ?
