-- The log. Append-only, in the order of commits; `seq` is gap-free from 1.
CREATE TABLE events (
    seq             INTEGER PRIMARY KEY,
    id              TEXT    NOT NULL,
    event_type      TEXT    NOT NULL,
    priority        TEXT    NOT NULL CHECK (priority IN ('info', 'action', 'urgent', 'critical')),
    session_id      TEXT    NOT NULL,
    project_id      TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    timestamp_us    INTEGER NOT NULL, -- when it happened, microseconds since 1970, UTC
    message         TEXT    NOT NULL,
    data            TEXT    NOT NULL, -- JSON
    caused_by_event TEXT,             -- set when a reaction emitted it
    caused_by_plugin TEXT,
    hops            INTEGER NOT NULL,
    dropped_by      TEXT,             -- the filter that hid it
    drop_reason     TEXT,
    committed_us    INTEGER NOT NULL, -- when the host committed it
    digest          BLOB    NOT NULL  -- of the content as it was sent
) STRICT;

-- A sender's retry is recognised by its id.
CREATE UNIQUE INDEX events_id ON events (id);

-- What enrichers changed: one row a change, in the order of their making.
CREATE TABLE changes (
    seq      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    plugin   TEXT    NOT NULL,
    version  TEXT    NOT NULL, -- SHA-256 of the component, hexadecimal
    patch    TEXT    NOT NULL, -- JSON: {"priority", "message", "data" (an RFC 7396 patch)}
    PRIMARY KEY (seq, position)
) STRICT, WITHOUT ROWID;

-- How far each sink that must not lose has come: everything up to and with `seq` is done.
CREATE TABLE cursors (
    name       TEXT    NOT NULL PRIMARY KEY,
    seq        INTEGER NOT NULL,
    updated_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a plugin could not do, for people to look at.
CREATE TABLE dead_letters (
    id        INTEGER PRIMARY KEY,
    plugin    TEXT    NOT NULL,
    event_seq INTEGER NOT NULL,
    event_id  TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    attempts  INTEGER NOT NULL,
    died_us   INTEGER NOT NULL
) STRICT;

-- The log with times that people and programs read.
CREATE VIEW events_rfc3339 AS
SELECT seq, id, event_type, priority, session_id, project_id, subject,
       strftime('%Y-%m-%dT%H:%M:%S', (timestamp_us - (timestamp_us % 1000000 + 1000000) % 1000000) / 1000000, 'unixepoch')
           || printf('.%06dZ', (timestamp_us % 1000000 + 1000000) % 1000000) AS timestamp,
       message, data, caused_by_event, caused_by_plugin, hops, dropped_by, drop_reason,
       strftime('%Y-%m-%dT%H:%M:%S', committed_us / 1000000, 'unixepoch')
           || printf('.%06dZ', committed_us % 1000000) AS committed_at
FROM events;
