-- Jobs whose recipients are whoever is in a list at the time: found without looking at every job.
CREATE INDEX jobs_of_live_lists ON jobs (name) WHERE definition ->> '$.live' IS NOT NULL;
