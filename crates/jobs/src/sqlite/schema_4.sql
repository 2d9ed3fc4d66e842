-- What each API key spent on each day (UTC; days since 1970). Keys of a list in the environment are in it, too.
CREATE TABLE key_spending (
    day INTEGER NOT NULL,
    key TEXT NOT NULL,
    requests INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    model_calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    -- Billionths of a US dollar.
    cost_nano_usd INTEGER NOT NULL,
    PRIMARY KEY (day, key)
) STRICT, WITHOUT ROWID;
