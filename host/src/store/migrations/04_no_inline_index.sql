-- Rewriting a page per key at every commit cost a factor of eight; the index is now a file of its
-- own, filled behind the log. See `index/`.
DROP INDEX events_project;
DROP INDEX events_session;
DROP INDEX events_type;
