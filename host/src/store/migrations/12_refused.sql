-- Messages that came to be ingested and are no events, or none that can be stored: nobody else may
-- have their bytes any more.
CREATE TABLE refused (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: somebody may have it on a screen
    at_us      INTEGER NOT NULL, -- microseconds since 1970, UTC
    subject    TEXT    NOT NULL, -- on the wire
    reason     TEXT    NOT NULL,
    size       INTEGER NOT NULL, -- of the message, in bytes
    kept       INTEGER NOT NULL, -- of these, how many are in `bytes`, from the first on
    stream     TEXT,             -- where it came from, if that was a stream,
    stream_seq INTEGER,          -- and its place there
    bytes      BLOB    NOT NULL, -- last, so that lists need not read it
    UNIQUE (stream, stream_seq)  -- a redelivery is the same message
) STRICT;

-- How many were pushed out by newer ones.
CREATE TABLE refused_pushed_out (count INTEGER NOT NULL) STRICT;
INSERT INTO refused_pushed_out (count) VALUES (0);
