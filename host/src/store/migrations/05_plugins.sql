-- Plugins that an operator has taken out of the flow: they stay out over restarts and new files.
CREATE TABLE disabled_plugins (
    name     TEXT    NOT NULL PRIMARY KEY,
    since_us INTEGER NOT NULL, -- microseconds since 1970, UTC
    "by"     TEXT    NOT NULL  -- who gave the command, for people
) STRICT, WITHOUT ROWID;
