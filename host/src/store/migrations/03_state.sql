-- What plugins remember. Written in the transaction of the events that a plugin handled when it
-- wrote, or of its cursor.
CREATE TABLE plugin_state (
    plugin TEXT NOT NULL,
    bucket TEXT NOT NULL CHECK (bucket IN ('pipeline', 'reaction')),
    key    TEXT NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (plugin, bucket, key)
) STRICT, WITHOUT ROWID;
