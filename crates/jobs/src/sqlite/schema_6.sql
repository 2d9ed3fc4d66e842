-- A job may be parked: status 6, waiting. What it waits for has a row here for as long as it does.
CREATE TABLE waits (
    job INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    kind TEXT NOT NULL,
    -- From when on the job counts as queued, though nobody wakes it.
    wakes_at INTEGER,
    details TEXT
) STRICT;
CREATE INDEX waits_by_time ON waits (wakes_at) WHERE wakes_at IS NOT NULL;

-- What has woken a job, or will wake it when it is parked: each key once.
CREATE TABLE wake_ups (
    job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    key TEXT NOT NULL,
    payload TEXT,
    at INTEGER NOT NULL,
    -- 1 until a worker that claims the job is given it.
    is_unseen INTEGER NOT NULL,
    PRIMARY KEY (job, key)
) STRICT, WITHOUT ROWID;

-- The deadline of a parked job counts, too.
DROP INDEX jobs_by_deadline;
CREATE INDEX jobs_by_deadline ON jobs (deadline, id) WHERE status IN (0, 6) AND deadline IS NOT NULL;
