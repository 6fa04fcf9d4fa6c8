-- Events that a plugin comes back to: they wait for their next attempt, or behind one of the same
-- key. The plugin's cursor has passed them, so this row is what makes them durable.
CREATE TABLE reaction_waiting (
    plugin    TEXT    NOT NULL,
    event_seq INTEGER NOT NULL,
    attempts  INTEGER NOT NULL, -- that failed so far
    next_us   INTEGER NOT NULL, -- not tried again before; microseconds since 1970, UTC
    PRIMARY KEY (plugin, event_seq)
) STRICT, WITHOUT ROWID;

-- Every attempt that failed, of an event that waits or is a dead letter. Gone with either.
CREATE TABLE reaction_attempts (
    id        INTEGER PRIMARY KEY, -- in the order of their making
    plugin    TEXT    NOT NULL,
    event_seq INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,    -- from 1, and from 1 again after a dead letter was retried
    at_us     INTEGER NOT NULL,
    error     TEXT    NOT NULL
) STRICT;
CREATE INDEX reaction_attempts_event ON reaction_attempts (plugin, event_seq, id);

-- An event is at most one dead letter of a plugin, and the id of one that is gone is never given to
-- another: somebody may have it on a screen.
CREATE TABLE dead_letters_07 (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    plugin    TEXT    NOT NULL,
    event_seq INTEGER NOT NULL,
    event_id  TEXT    NOT NULL,
    reason    TEXT    NOT NULL, -- of the last attempt
    attempts  INTEGER NOT NULL, -- since it was first tried, or last retried by hand
    died_us   INTEGER NOT NULL,
    UNIQUE (plugin, event_seq)
) STRICT;
INSERT INTO dead_letters_07
SELECT id, plugin, event_seq, event_id, reason, attempts, died_us FROM dead_letters
WHERE id IN (SELECT max(id) FROM dead_letters GROUP BY plugin, event_seq);
-- Of what died before, the last attempt is all that is known.
INSERT INTO reaction_attempts (plugin, event_seq, attempt, at_us, error)
SELECT plugin, event_seq, attempts, died_us, reason FROM dead_letters_07 ORDER BY id;
DROP TABLE dead_letters;
ALTER TABLE dead_letters_07 RENAME TO dead_letters;
