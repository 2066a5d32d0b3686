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
