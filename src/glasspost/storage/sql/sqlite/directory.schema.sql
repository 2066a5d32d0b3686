-- Who lives here: domains, accounts, aliases. A file of its own, so that a change by the command line is seen by a
-- running node at once (its data_version moves for no other reason), and so that spool shards can share it.

-- name: m001
CREATE TABLE domain (
    name      TEXT PRIMARY KEY,              -- comparable form (A-labels, lower case)
    created   REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE account (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: deposits refer to it
    local     TEXT    NOT NULL,              -- as its owner writes it
    folded    TEXT    NOT NULL,              -- case-folded, for look-ups
    domain    TEXT    NOT NULL,              -- comparable form
    password  TEXT    NOT NULL,              -- argon2id
    quota     INTEGER NOT NULL,              -- octets; 0: none
    enabled   INTEGER NOT NULL,
    created   REAL    NOT NULL,
    UNIQUE (domain, folded)
) STRICT;
-- An alias and an account may have one name: then the alias says where mail goes, and names itself if the account
-- shall keep getting it.
CREATE TABLE alias (
    folded    TEXT    NOT NULL,              -- '*' is the catch-all of its domain
    domain    TEXT    NOT NULL,              -- comparable form
    n         INTEGER NOT NULL,              -- order of the targets, as they were given
    target    TEXT    NOT NULL,              -- an address
    PRIMARY KEY (domain, folded, n)
) STRICT, WITHOUT ROWID;

-- name: m002
-- What SCRAM needs of a password (RFC 5802 §3), beside its argon2 hash; NULL until the password is set, or has been
-- used once. Whoever can read these can try passwords against them.
ALTER TABLE account ADD COLUMN stored_key BLOB;
ALTER TABLE account ADD COLUMN server_key BLOB;
-- What salts are made with, of those who are here and of those who are not. Made once, never shown.
CREATE TABLE secret (
    name      TEXT PRIMARY KEY,
    value     BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO secret (name, value) VALUES ('salt', randomblob(32));
-- Further passwords of an account, one for each program or device. They are made by chance, not by people, so the
-- keys for SCRAM are kept and no slow hash.
CREATE TABLE app_password (
    account    INTEGER NOT NULL,             -- account.id
    name       TEXT    NOT NULL,             -- what its owner calls it
    purpose    TEXT    NOT NULL,             -- 'send', 'fetch' or 'both'
    stored_key BLOB    NOT NULL,
    server_key BLOB    NOT NULL,
    plain      TEXT,                         -- the password itself, only where it was made for CRAM-MD5
    created    REAL    NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
