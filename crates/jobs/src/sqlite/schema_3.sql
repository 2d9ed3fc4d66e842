-- API keys. Of a key itself there is only a keyed hash.
CREATE TABLE api_keys (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    -- What it may do: JSON.
    grants TEXT NOT NULL,
    hash BLOB NOT NULL,
    -- The secret before this one, and until when that is good.
    previous_hash BLOB,
    previous_until INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER
) STRICT;

-- One row once there was a key: what the hashes are keyed with.
CREATE TABLE key_hashing (one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL) STRICT;
