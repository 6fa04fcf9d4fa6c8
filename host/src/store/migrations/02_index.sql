-- The search index, written with every commit. See `index.rs`.
CREATE INDEX events_project ON events (project_id, seq);
CREATE INDEX events_session ON events (session_id, seq);
CREATE INDEX events_type ON events (event_type, seq);
