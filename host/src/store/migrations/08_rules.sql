-- Reactions that have acted and wait for what resolves them. The log says whether it has come.
CREATE TABLE escalations (
    plugin    TEXT    NOT NULL,
    event_seq INTEGER NOT NULL, -- that was reacted to
    times     INTEGER NOT NULL, -- how often it was escalated so far
    due_us    INTEGER NOT NULL, -- the next time; microseconds since 1970, UTC
    PRIMARY KEY (plugin, event_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX escalations_due ON escalations (plugin, due_us);

-- Where a plugin's threshold was last reached: what comes before is not counted again.
CREATE TABLE thresholds (
    plugin    TEXT    NOT NULL,
    key       TEXT    NOT NULL, -- what the events have in common
    event_seq INTEGER NOT NULL, -- the last of them
    at_us     INTEGER NOT NULL, -- when that happened
    PRIMARY KEY (plugin, key)
) STRICT, WITHOUT ROWID;
