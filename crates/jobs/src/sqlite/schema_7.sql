-- A replica has one lease for all its jobs, which lives as long as its process; `lease_expires_at` is
-- not used any more. An ended job keeps the worker of its last claim.
DROP INDEX jobs_by_lease;

-- The last batch of spending that each process has stored, and the last day it was about: one whose
-- answer was lost is sent again.
CREATE TABLE spending_batches (
    writer TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    day INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
