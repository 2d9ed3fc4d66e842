-- An idempotency key outlives its job: then `job` is null and `gone` and `status` say which job it was
-- and how it ended.
ALTER TABLE idempotency_keys RENAME TO former_keys;
DROP INDEX idempotency_keys_by_job;
CREATE TABLE idempotency_keys (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    job INTEGER REFERENCES jobs ON DELETE CASCADE,
    gone BLOB,
    status INTEGER,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
INSERT INTO idempotency_keys (scope, key, fingerprint, used_at, job)
    SELECT scope, key, fingerprint, used_at, job FROM former_keys;
DROP TABLE former_keys;
CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job) WHERE job IS NOT NULL;
CREATE INDEX idempotency_keys_by_use ON idempotency_keys (used_at) WHERE job IS NULL;

-- Claims since the run last got on, and the last event stored when it was claimed last.
ALTER TABLE jobs ADD COLUMN starts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN claimed_at_event INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET starts = attempts WHERE status < 3;

-- Large inputs and progress that came with jobs: each text once, with the number of places that have it.
-- The text lies apart because `places` changes with each of them. Where `shared` says which one it is,
-- the row itself holds an empty text.
CREATE TABLE contents (
    seq INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    places INTEGER NOT NULL
) STRICT;
CREATE TABLE content_texts (
    content INTEGER PRIMARY KEY REFERENCES contents ON DELETE CASCADE,
    text TEXT NOT NULL
) STRICT;
ALTER TABLE work ADD COLUMN shared INTEGER;
ALTER TABLE progress ADD COLUMN shared INTEGER;

-- Hosts that webhooks wait for, by the earliest time at which one may be tried.
CREATE TABLE webhook_hosts (
    host TEXT PRIMARY KEY,
    due_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_hosts_by_time ON webhook_hosts (due_at);
DROP INDEX webhooks_by_time;
CREATE INDEX webhooks_by_time ON webhooks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhooks_by_host ON webhooks (host, due_at) WHERE due_at IS NOT NULL;
INSERT INTO webhook_hosts
    SELECT host, min(due_at) FROM webhooks WHERE due_at IS NOT NULL GROUP BY host;
CREATE TRIGGER webhook_is_due AFTER UPDATE OF due_at ON webhooks BEGIN
    DELETE FROM webhook_hosts WHERE host = new.host;
    INSERT INTO webhook_hosts
        SELECT host, due_at FROM webhooks WHERE host = new.host AND due_at IS NOT NULL
        ORDER BY due_at LIMIT 1;
END;
CREATE TRIGGER webhook_is_gone AFTER DELETE ON webhooks WHEN old.due_at IS NOT NULL BEGIN
    DELETE FROM webhook_hosts WHERE host = old.host;
    INSERT INTO webhook_hosts
        SELECT host, due_at FROM webhooks WHERE host = old.host AND due_at IS NOT NULL
        ORDER BY due_at LIMIT 1;
END;
