-- What is known of an event's way. See `trace/`.

-- What filters and enrichers did with an event, in their order, wherever that was not "kept,
-- unchanged"; JSON: [{"plugin", "role", "version" (SHA-256 of the component, hexadecimal), "outcome"
-- ("changed", "dropped" or "failed"), "detail" (changed: JSON {"priority", "message", "data" (an RFC
-- 7396 patch)}; failed: why), "was_priority" and "was_subject" (before a change of it), "took_ns" (the
-- event's share of the call)}]. A column and no table, since a second insert for an event would cost a
-- fifth of the throughput. Takes the place of `changes`.
ALTER TABLE events ADD COLUMN steps TEXT;
UPDATE events
SET steps = (
    SELECT json_group_array(json_object(
        'plugin', plugin, 'role', 'enricher', 'version', version, 'outcome', 'changed', 'detail', patch))
    FROM (SELECT * FROM changes WHERE changes.seq = events.seq ORDER BY position))
WHERE seq IN (SELECT seq FROM changes);
DROP TABLE changes;
CREATE VIEW steps AS
SELECT events.seq AS seq, step.key AS position, step.value ->> 'plugin' AS plugin,
       step.value ->> 'role' AS role, step.value ->> 'version' AS version,
       step.value ->> 'outcome' AS outcome, step.value ->> 'detail' AS detail,
       step.value ->> 'was_priority' AS was_priority, step.value ->> 'was_subject' AS was_subject,
       step.value ->> 'took_ns' AS took_ns
FROM events, json_each(events.steps) AS step;

-- Calls into filters and enrichers that said something, took long, or made the version before take
-- over. The events of a call are among those from `first_seq` to `last_seq`.
CREATE TABLE plugin_calls (
    plugin    TEXT    NOT NULL,
    role      TEXT    NOT NULL CHECK (role = 'filter' OR role = 'enricher'),
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    version   TEXT    NOT NULL,
    events    INTEGER NOT NULL, -- how many
    took_ns   INTEGER NOT NULL,
    said      TEXT    NOT NULL, -- JSON: [{"level", "context", "message"}]
    unsaid    INTEGER NOT NULL, -- further lines, which only the host's log has
    error     TEXT,             -- why the version before took over
    PRIMARY KEY (plugin, role, first_seq, version)
) STRICT, WITHOUT ROWID;

-- Which filters and enrichers events met, in the order of their calls, from a place on.
CREATE TABLE lineups (
    from_seq INTEGER PRIMARY KEY,
    at_us    INTEGER NOT NULL,
    members  TEXT    NOT NULL -- JSON
) STRICT;

-- Which version of a reaction came to events, from a place on.
CREATE TABLE reaction_versions (
    plugin   TEXT    NOT NULL,
    from_seq INTEGER NOT NULL,
    at_us    INTEGER NOT NULL,
    member   TEXT    NOT NULL, -- JSON
    PRIMARY KEY (plugin, from_seq)
) STRICT, WITHOUT ROWID;

-- Reactions that did something, or needed more than one attempt, took long, or said something.
CREATE TABLE reaction_steps (
    event_seq INTEGER NOT NULL,
    plugin    TEXT    NOT NULL,
    version   TEXT    NOT NULL,
    attempt   INTEGER NOT NULL, -- the one that succeeded
    at_us     INTEGER NOT NULL,
    took_ns   INTEGER NOT NULL,
    emitted   INTEGER NOT NULL, -- events; their ids derive from the event, the plugin and their number
    commands  TEXT    NOT NULL, -- JSON: [text]
    said      TEXT    NOT NULL,
    unsaid    INTEGER NOT NULL,
    PRIMARY KEY (event_seq, plugin)
) STRICT, WITHOUT ROWID;

-- An attempt that failed is kept for good from now on, with its call.
ALTER TABLE reaction_attempts ADD COLUMN version TEXT;
ALTER TABLE reaction_attempts ADD COLUMN took_ns INTEGER;
ALTER TABLE reaction_attempts ADD COLUMN said TEXT;
ALTER TABLE reaction_attempts ADD COLUMN unsaid INTEGER;

-- When a sink said that it had done everything up to a place; at most about one a second.
CREATE TABLE marks (
    sink  TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (sink, seq)
) STRICT, WITHOUT ROWID;

-- Events that a sink could not take, and went past.
CREATE TABLE undelivered (
    sink   TEXT    NOT NULL,
    seq    INTEGER NOT NULL,
    reason TEXT    NOT NULL,
    PRIMARY KEY (sink, seq)
) STRICT, WITHOUT ROWID;
