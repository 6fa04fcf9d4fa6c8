-- The log that this one is a copy of: one row, made when a follower first finds the stream. A log
-- without it is a host's own.
CREATE TABLE followed (
    only       INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    origin     TEXT,             -- that log's `identity`; NULL until its first event came
    stream     TEXT    NOT NULL, -- the stream that it comes over,
    created    TEXT    NOT NULL, -- made at this time, as its server says it,
    stream_seq INTEGER NOT NULL, -- and taken up to this sequence
    updated_us INTEGER NOT NULL
) STRICT;

-- Events that should have come and did not: behind `after`, up to and with `until`.
CREATE TABLE follow_gaps (
    after    INTEGER NOT NULL PRIMARY KEY,
    until    INTEGER NOT NULL,
    found_us INTEGER NOT NULL
) STRICT;

-- Places of `pruned` whose events were never to come: the other log has hidden them. Nobody misses
-- them, so nobody is told of them. Built like `pruned`.
CREATE TABLE absent (
    segment INTEGER NOT NULL PRIMARY KEY,
    events  INTEGER NOT NULL,
    places  BLOB    NOT NULL
) STRICT;
