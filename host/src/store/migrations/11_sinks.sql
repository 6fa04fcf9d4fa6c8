-- Who this log is to readers elsewhere: made once, and kept in every copy of the file.
CREATE TABLE identity (
    only   INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    origin TEXT    NOT NULL -- a random UUID
) STRICT;
INSERT INTO identity
SELECT 1, lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
       || '-' || substr('89ab', 1 + abs(random() % 4), 1) || substr(hex(randomblob(2)), 2)
       || '-' || hex(randomblob(6)));

-- The last event that a sink took of all up to its `seq`: those between are hidden, or were skipped.
ALTER TABLE cursors ADD COLUMN taken INTEGER;
UPDATE cursors
SET taken = (SELECT coalesce(max(seq), 0) FROM events
             WHERE events.seq <= cursors.seq AND dropped_by IS NULL
             AND events.seq NOT IN (SELECT seq FROM undelivered WHERE sink = 'nats'))
WHERE name = 'nats';
