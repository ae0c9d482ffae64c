-- The answer to an opt-out: the one message that still goes to who opted out.
ALTER TABLE suppressions ADD COLUMN farewell BLOB;
