-- Jobs whose recipients are whoever is in a list at the time: found without looking at every job.
CREATE INDEX jobs_of_live_lists ON jobs (name) WHERE definition ->> '$.live' IS NOT NULL;
-- What of an occurrence was replaced, and when it was due: what takes its place is due then.
CREATE INDEX messages_replaced ON messages (occurrence, chat, step) WHERE occurrence IS NOT NULL AND reason = 'replaced';
