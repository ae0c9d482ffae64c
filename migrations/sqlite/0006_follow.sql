-- Events with their reminders, and what follows a message until it is answered.

-- When the event begins that an occurrence reminds of.
ALTER TABLE occurrences ADD COLUMN event_at INTEGER;
-- Whether somebody asked for it beside the schedule: a changed schedule does not replace it.
ALTER TABLE occurrences ADD COLUMN extra INTEGER NOT NULL DEFAULT 0;
-- Where a person moved or called off the event of a job: the file's own word stays in its definition.
ALTER TABLE jobs ADD COLUMN event_moved_to INTEGER;
ALTER TABLE jobs ADD COLUMN event_cancelled INTEGER NOT NULL DEFAULT 0;

-- How following a message stands (waiting, reached, unknown), and when it is looked at next; NULL = not followed. What was
-- taken back or never sent is not looked at, until somebody gives it another chance.
ALTER TABLE messages ADD COLUMN followed TEXT CHECK (followed IN ('waiting', 'reached', 'unknown'));
ALTER TABLE messages ADD COLUMN follow_at INTEGER;
-- The message that this one follows, as a nag or an escalation.
ALTER TABLE messages ADD COLUMN follows BLOB;
CREATE INDEX messages_to_follow ON messages (follow_at)
    WHERE follow_at IS NOT NULL AND state IN ('sent', 'failed', 'expired');
CREATE INDEX messages_following ON messages (follows) WHERE follows IS NOT NULL;

-- That somebody wrote, not what.
CREATE TABLE replies (
    instance   TEXT    NOT NULL,
    gateway_id TEXT    NOT NULL,
    chat       TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (instance, gateway_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX replies_by_chat ON replies (chat, at);
CREATE INDEX messages_followed_by_chat ON messages (chat) WHERE followed IS NOT NULL;
CREATE INDEX messages_following_by_chat ON messages (chat) WHERE follows IS NOT NULL;
