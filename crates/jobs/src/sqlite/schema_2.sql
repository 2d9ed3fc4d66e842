-- Where the end of a job is told: a row from the job's submission on, due from its end on.
-- state: 0 waiting, 1 pending, 2 delivered, 3 gone, 4 given up.
CREATE TABLE webhooks (
    job INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    -- The address as it may be shown.
    shown TEXT NOT NULL,
    host TEXT NOT NULL,
    -- The address, and what messages are signed with. No address: the server's own.
    url TEXT,
    secret TEXT,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    last_error TEXT,
    -- While it is pending: when it may be tried or, while somebody tries it, tried by another.
    due_at INTEGER,
    -- Of the last claim.
    token INTEGER NOT NULL,
    -- 1 while somebody tries it.
    claimed INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_by_time ON webhooks (due_at, host) WHERE due_at IS NOT NULL;

-- 1 from the submission of a job that has a webhook until that is settled; so long it does not expire.
ALTER TABLE jobs ADD COLUMN owes_webhook INTEGER;
DROP INDEX jobs_by_end;
CREATE INDEX jobs_by_end ON jobs (completed_at, id)
    WHERE completed_at IS NOT NULL AND owes_webhook IS NULL;
