-- The greylist's queries, used by storage/greylist.py.

-- name: network
SELECT passes, seen FROM network WHERE network = ?

-- name: triplet
SELECT first, passed FROM triplet WHERE network = ? AND sender = ? AND recipient = ?

-- name: begin
-- A triplet that waits keeps its first moment; one whose time is over begins again.
INSERT INTO triplet (network, sender, recipient, first, passed) VALUES (?1, ?2, ?3, ?4, 0)
ON CONFLICT DO UPDATE SET first = ?4, passed = 0
WHERE first < ?5 AND passed < ?6

-- name: mark_passed
UPDATE triplet SET passed = ?4 WHERE network = ?1 AND sender = ?2 AND recipient = ?3

-- name: count_pass
INSERT INTO network (network, passes, seen) VALUES (?1, ?2, ?3)
ON CONFLICT DO UPDATE SET passes = passes + ?2, seen = ?3

-- name: forget_triplets
DELETE FROM triplet WHERE passed < ?2 AND (passed > 0 OR first < ?1)

-- name: forget_networks
DELETE FROM network WHERE seen < ?

-- name: count_triplets
SELECT count(*) FROM triplet

-- name: drop_oldest
DELETE FROM triplet WHERE (network, sender, recipient) IN
    (SELECT network, sender, recipient FROM triplet WHERE passed = 0 ORDER BY first LIMIT ?)
