-- name: failure
SELECT count, last, until FROM failure WHERE kind = ? AND name = ?

-- name: put_failure
INSERT OR REPLACE INTO failure (kind, name, count, last, until) VALUES (?, ?, ?, ?, ?)

-- name: failures
SELECT kind, name, count, last, until FROM failure ORDER BY until DESC, kind, name

-- name: clear
-- A pair's name begins with its address and ends with its account.
DELETE FROM failure WHERE name = ?1 OR (kind = 'pair' AND (name LIKE ?2 || ' %' ESCAPE '\' OR name LIKE '% ' || ?2 ESCAPE '\'))

-- name: clear_all
DELETE FROM failure

-- name: forget_failures
DELETE FROM failure WHERE last < ?1 AND until < ?2

-- name: shorten_failures
-- The oldest beyond so many.
DELETE FROM failure WHERE (kind, name) IN (SELECT kind, name FROM failure ORDER BY last DESC LIMIT -1 OFFSET ?)

-- name: acquaintance
SELECT last FROM acquaintance WHERE pair = ?

-- name: put_acquaintance
INSERT OR REPLACE INTO acquaintance (pair, last) VALUES (?, ?)

-- name: forget_acquaintances
DELETE FROM acquaintance WHERE last < ?

-- name: shorten_acquaintances
DELETE FROM acquaintance WHERE pair IN (SELECT pair FROM acquaintance ORDER BY last DESC LIMIT -1 OFFSET ?)
