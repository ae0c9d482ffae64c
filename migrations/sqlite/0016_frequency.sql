-- Whether a message counts for `frequency`: how often its recipient is written to by jobs that have it.
ALTER TABLE messages ADD COLUMN counted INTEGER CHECK (counted = 1);
CREATE INDEX messages_counted ON messages (chat, first_marked_at) WHERE counted = 1 AND first_marked_at IS NOT NULL;
