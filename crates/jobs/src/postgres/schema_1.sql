-- Everything is in the schema `flowmill`, which is the search path of every connection. Payloads are
-- JSON as text, never `jsonb`: they are opaque here. Text that an index has is compared as bytes, so that
-- an index outlives a change of the system's rules for sorting.
-- status: 0 pending, 1 running, 2 cancelling, 3 completed, 4 failed, 5 cancelled, 6 waiting.

-- One row. `format` is the number of migrations; a program below `min_level` must not use the store.
CREATE TABLE meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    cluster uuid NOT NULL,
    format integer NOT NULL,
    min_level integer NOT NULL,
    -- By how many milliseconds a job's created_at and the time in its id ever differed.
    id_skew_ms bigint NOT NULL DEFAULT 0
);

-- A row per life of a process, until nothing refers to it. No index on `lease_until`: a beat would have
-- to change it, too.
CREATE TABLE replicas (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    version text NOT NULL,
    level integer NOT NULL,
    registered_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    is_dead boolean NOT NULL DEFAULT false,
    is_draining boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- How many jobs have ended, and the bytes of all jobs: the sum over all rows. Each writing connection
-- changes a row of its own, so that none waits for another.
CREATE TABLE tally (
    slot integer PRIMARY KEY,
    ended bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

-- No count of the jobs that have one: every submission would lock that row. `last_used` is touched once
-- a day, and a definition goes when it was not used for two days and no job has it.
CREATE TABLE definitions (
    hash text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    text text NOT NULL,
    last_used date NOT NULL
);

-- What does not change, and from the end of the job on how it ended. `status` is null until then.
CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    workflow text COLLATE "C" NOT NULL,
    owner text COLLATE "C",
    definition text NOT NULL,
    metadata text,
    created_at timestamptz NOT NULL,
    deadline timestamptz,
    retried_from uuid,
    level integer NOT NULL,
    status smallint,
    started_at timestamptz,
    completed_at timestamptz,
    execution_ms bigint,
    error text,
    problem text,
    usage text,
    attempts integer NOT NULL DEFAULT 0,
    -- The lease under which it ended.
    end_token bigint,
    end_replica uuid,
    owes_webhook boolean NOT NULL DEFAULT false,
    -- Of its payloads.
    bytes bigint NOT NULL DEFAULT 0
);
-- Listings, by status and id within what a filter may name: of the jobs that have ended, so that a job
-- is entered once.
CREATE INDEX jobs_by_status ON jobs (status, id) WHERE status IS NOT NULL;
CREATE INDEX jobs_by_workflow ON jobs (workflow, status, id) WHERE status IS NOT NULL;
CREATE INDEX jobs_by_owner ON jobs (owner, status, id) WHERE owner IS NOT NULL AND status IS NOT NULL;
CREATE INDEX jobs_by_owner_and_workflow ON jobs (owner, workflow, status, id)
    WHERE owner IS NOT NULL AND status IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (completed_at, id) WHERE completed_at IS NOT NULL AND NOT owes_webhook;

-- The jobs that have not ended: a small table that is changed often.
CREATE TABLE active (
    job uuid PRIMARY KEY,
    workflow text COLLATE "C" NOT NULL,
    owner text COLLATE "C",
    deadline timestamptz,
    level integer NOT NULL,
    status smallint NOT NULL,
    -- Of the last claim or hand-back.
    token bigint NOT NULL,
    -- While it runs.
    replica uuid,
    attempts integer NOT NULL,
    -- Claims since the run last made progress, and the last event stored when it was claimed last.
    starts integer NOT NULL,
    claimed_at_event bigint NOT NULL DEFAULT 0,
    started_at timestamptz
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX active_queue ON active (workflow, job) WHERE status = 0;
CREATE INDEX active_parked ON active (workflow, job) WHERE status = 6;
CREATE INDEX active_by_deadline ON active (deadline) WHERE status IN (0, 6) AND deadline IS NOT NULL;
CREATE INDEX active_by_replica ON active (replica) WHERE status IN (1, 2);
CREATE INDEX active_cancelling ON active (replica) WHERE status = 2;
CREATE INDEX active_by_owner ON active (owner, workflow, job) WHERE owner IS NOT NULL;

CREATE TABLE work (
    job uuid PRIMARY KEY,
    inputs text NOT NULL,
    options text
);
CREATE TABLE progress (
    job uuid PRIMARY KEY,
    data text NOT NULL
);
CREATE TABLE outputs (
    job uuid PRIMARY KEY,
    data text NOT NULL
);
CREATE TABLE events (
    job uuid NOT NULL,
    id bigint NOT NULL,
    kind text NOT NULL,
    data text NOT NULL,
    PRIMARY KEY (job, id)
);

-- What a parked job waits for, and what has woken a job or will wake it when it is parked.
CREATE TABLE waits (
    job uuid PRIMARY KEY,
    kind text NOT NULL,
    wakes_at timestamptz,
    details text
);
CREATE INDEX waits_by_time ON waits (wakes_at) WHERE wakes_at IS NOT NULL;
CREATE TABLE wake_ups (
    job uuid NOT NULL,
    key text COLLATE "C" NOT NULL,
    payload text,
    at timestamptz NOT NULL,
    -- Until a replica that claims the job is given it.
    is_unseen boolean NOT NULL,
    PRIMARY KEY (job, key)
);

-- A key outlives its job: then `gone` says how the job ended.
CREATE TABLE idempotency_keys (
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint text NOT NULL,
    used_at timestamptz NOT NULL,
    job uuid NOT NULL,
    gone smallint,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job);
CREATE INDEX idempotency_keys_by_use ON idempotency_keys (used_at) WHERE gone IS NOT NULL;

-- state: 0 waiting, 1 pending, 2 delivered, 3 gone, 4 given up.
CREATE TABLE webhooks (
    job uuid PRIMARY KEY,
    shown text NOT NULL,
    host text COLLATE "C" NOT NULL,
    url text,
    secret text,
    state smallint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    -- While it is pending: when it may be tried or, while somebody tries it, tried by another.
    due_at timestamptz,
    token bigint NOT NULL DEFAULT 0,
    is_claimed boolean NOT NULL DEFAULT false
);
CREATE INDEX webhooks_by_time ON webhooks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhooks_by_host ON webhooks (host, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE api_keys (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    name text NOT NULL,
    grants text NOT NULL,
    hash bytea NOT NULL,
    previous_hash bytea,
    previous_until timestamptz,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE TABLE key_hashing (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    key bytea NOT NULL
);
CREATE TABLE key_spending (
    day bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    requests bigint NOT NULL,
    runs bigint NOT NULL,
    model_calls bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_nano_usd bigint NOT NULL,
    PRIMARY KEY (day, key)
);
CREATE TABLE spending_batches (
    writer uuid PRIMARY KEY,
    number bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

-- What a living replica has set aside of the limits of a key: `nano_usd` in billionths of a dollar,
-- `requests` as its last batch was granted them.
CREATE TABLE allotments (
    key text NOT NULL,
    replica uuid NOT NULL,
    tokens bigint NOT NULL,
    nano_usd bigint NOT NULL,
    requests bigint NOT NULL,
    PRIMARY KEY (key, replica)
) WITH (fillfactor = 50);
-- The requests per minute of a key: when its bucket will be full, in nanoseconds since 1970.
CREATE TABLE request_buckets (
    key text PRIMARY KEY,
    full_at bigint NOT NULL
) WITH (fillfactor = 50);
