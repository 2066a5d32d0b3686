-- name: data_version
-- Moves when any other connection, of this process or another, has committed a change.
PRAGMA data_version

-- name: domains
SELECT d.name, d.created,
       (SELECT count(*) FROM account a WHERE a.domain = d.name),
       (SELECT count(DISTINCT folded) FROM alias a WHERE a.domain = d.name)
FROM domain d ORDER BY d.name

-- name: domain_names
SELECT name FROM domain

-- name: domain_created
SELECT created FROM domain WHERE name = ?

-- name: add_domain
INSERT INTO domain (name, created) VALUES (?, ?)

-- name: remove_domain
DELETE FROM domain WHERE name = ?

-- name: residents
-- What keeps a domain from being removed.
SELECT (SELECT count(*) FROM account WHERE domain = ?1), (SELECT count(DISTINCT folded) FROM alias WHERE domain = ?1)

-- name: account_at
SELECT id, local, domain, quota, enabled, created FROM account WHERE domain = ? AND folded = ?

-- name: account_by_id
SELECT id, local, domain, quota, enabled, created FROM account WHERE id = ?

-- name: accounts
SELECT id, local, domain, quota, enabled, created FROM account WHERE ?1 = '' OR domain = ?1 ORDER BY domain, folded

-- name: first_account
-- The oldest account that works, of one domain or ('') of all.
SELECT id, local, domain, quota, enabled, created FROM account
WHERE enabled = 1 AND (?1 = '' OR domain = ?1) ORDER BY id LIMIT 1

-- name: names_in
-- For "did you mean".
SELECT folded FROM account WHERE domain = ?1 UNION SELECT folded FROM alias WHERE domain = ?1 LIMIT 5000

-- name: credentials
SELECT id, password, stored_key, server_key, enabled FROM account WHERE domain = ? AND folded = ?

-- name: salt_secret
SELECT value FROM secret WHERE name = 'salt'

-- name: add_account
INSERT INTO account (local, folded, domain, password, stored_key, server_key, quota, enabled, created)
VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)

-- name: remove_account
DELETE FROM account WHERE id = ?

-- name: app_passwords
-- All of an account's, in an order that does not change between two steps of an exchange.
SELECT name, purpose, stored_key, server_key, plain, created FROM app_password WHERE account = ? ORDER BY name

-- name: add_app_password
INSERT INTO app_password (account, name, purpose, stored_key, server_key, plain, created)
VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: remove_app_password
DELETE FROM app_password WHERE account = ? AND name = ?

-- name: remove_app_passwords
DELETE FROM app_password WHERE account = ?

-- name: set_password
UPDATE account SET password = ?, stored_key = ?, server_key = ? WHERE id = ?

-- name: upgrade_password
-- Only where nobody has changed it meanwhile.
UPDATE account SET password = ?1, stored_key = ?2, server_key = ?3 WHERE id = ?4 AND password = ?5

-- name: set_enabled
UPDATE account SET enabled = ? WHERE id = ?

-- name: set_quota
UPDATE account SET quota = ? WHERE id = ?

-- name: targets
SELECT target FROM alias WHERE domain = ? AND folded = ? ORDER BY n

-- name: aliases
SELECT folded, domain, target FROM alias WHERE ?1 = '' OR domain = ?1 ORDER BY domain, folded, n

-- name: add_target
INSERT INTO alias (folded, domain, n, target)
VALUES (?1, ?2, (SELECT coalesce(max(n), 0) + 1 FROM alias WHERE domain = ?2 AND folded = ?1), ?3)

-- name: remove_target
DELETE FROM alias WHERE domain = ? AND folded = ? AND target = ?

-- name: remove_alias
DELETE FROM alias WHERE domain = ? AND folded = ?

-- name: all_targets
-- Who leads to an account that is to be removed? Aliases are few: a walk through them is quick enough.
SELECT folded, domain, target FROM alias

-- name: postmasters
-- The domains that have a postmaster of their own.
SELECT domain FROM account WHERE folded = 'postmaster' AND enabled = 1
UNION SELECT domain FROM alias WHERE folded = 'postmaster' ORDER BY domain
