-- Times are nanoseconds since 1970, ids the 16 bytes of a UUID, payloads JSON text.
-- status: 0 pending, 1 running, 2 cancelling, 3 completed, 4 failed, 5 cancelled.

-- What a listing shows; everything large is in the tables below, by jobs.seq.
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    workflow TEXT NOT NULL,
    -- Of definitions.seq. Not REFERENCES: that would want one more index; definitions.jobs guards it.
    definition INTEGER NOT NULL,
    status INTEGER NOT NULL,
    metadata TEXT,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    completed_at INTEGER,
    execution_time_ms INTEGER,
    error TEXT,
    problem TEXT,
    usage TEXT,
    deadline INTEGER,
    owner TEXT,
    retried_from BLOB,
    attempts INTEGER NOT NULL,
    -- Of the last claim or hand-back.
    token INTEGER NOT NULL,
    -- These two while it runs.
    worker TEXT,
    lease_expires_at INTEGER
) STRICT;

-- Queries name the one they are meant for: the planner cannot know how few jobs wait among many.
CREATE UNIQUE INDEX jobs_by_id ON jobs (id);
CREATE INDEX jobs_by_status ON jobs (status, id);
CREATE INDEX jobs_by_workflow ON jobs (workflow, status, id);
CREATE INDEX jobs_by_owner ON jobs (owner, status, id) WHERE owner IS NOT NULL;
CREATE INDEX jobs_by_owner_and_workflow ON jobs (owner, workflow, status, id) WHERE owner IS NOT NULL;
CREATE INDEX jobs_by_lease ON jobs (lease_expires_at, id) WHERE lease_expires_at IS NOT NULL;
CREATE INDEX jobs_by_deadline ON jobs (deadline, id) WHERE status = 0 AND deadline IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (completed_at, id) WHERE completed_at IS NOT NULL;

CREATE TABLE work (
    job INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    inputs TEXT NOT NULL,
    options TEXT
) STRICT;

CREATE TABLE progress (
    job INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    data TEXT NOT NULL
) STRICT;

CREATE TABLE outputs (
    job INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    data TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (job, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job);

-- Each definition once. Its text lies apart because `jobs`, how many have it, changes with each of them.
CREATE TABLE definitions (
    seq INTEGER PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    jobs INTEGER NOT NULL
) STRICT;
CREATE TABLE definition_texts (
    definition INTEGER PRIMARY KEY REFERENCES definitions ON DELETE CASCADE,
    text TEXT NOT NULL
) STRICT;

-- One row: by how much a job's created_at and the time in its id ever differed.
CREATE TABLE id_skew (ms INTEGER NOT NULL) STRICT;
INSERT INTO id_skew VALUES (0);

-- Empty, but for the moment in which it is tried whether there is space again.
CREATE TABLE padding (data BLOB NOT NULL) STRICT;
