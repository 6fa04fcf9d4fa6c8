-- What retention has deleted. Every place up to the log's head has either its event or its bit here,
-- so a hole is never a loss. Written in the transaction that deletes. See `pruned.rs`.
CREATE TABLE pruned (
    segment INTEGER NOT NULL PRIMARY KEY, -- segment n has the 65,536 places behind n * 65,536
    events  INTEGER NOT NULL,             -- how many of them are gone
    places  BLOB    NOT NULL              -- which: a Roaring bitmap, counted from 0
) STRICT;

-- What hangs on an event is found by it, to go with it.
CREATE INDEX dead_letters_event ON dead_letters (event_seq);
CREATE INDEX reaction_attempts_seq ON reaction_attempts (event_seq);
CREATE INDEX escalations_event ON escalations (event_seq);
CREATE INDEX undelivered_seq ON undelivered (seq);
CREATE INDEX plugin_calls_first ON plugin_calls (first_seq);
