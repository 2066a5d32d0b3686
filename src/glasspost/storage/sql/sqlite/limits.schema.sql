-- Who has guessed wrong, and who is known. A file of its own: it changes with every wrong password, and the directory
-- must not (a running node forgets what it has looked up whenever that file changes).

-- name: m001
CREATE TABLE failure (
    kind      TEXT NOT NULL,                 -- 'address', 'network', 'account', or 'pair' (address and account)
    name      TEXT NOT NULL,
    count     REAL NOT NULL,                 -- as of `last`; it halves with time
    last      REAL NOT NULL,
    until     REAL NOT NULL,                 -- shut out until then; 0: not shut out
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX failure_last ON failure (last);
CREATE TABLE acquaintance (                  -- who has signed in from where
    pair      TEXT PRIMARY KEY,
    last      REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX acquaintance_last ON acquaintance (last);
