-- Whether messages of an occurrence were forgotten: what of it is planned anew then takes the place of what is there, and nobody else
-- gets a message of it, since they may have had one.
ALTER TABLE occurrences ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0 CHECK (forgotten IN (0, 1));
UPDATE occurrences SET forgotten = 1
WHERE state = 'planned' AND id NOT IN (SELECT occurrence FROM messages WHERE occurrence IS NOT NULL);
-- When the event begins that an occurrence was planned for, as a person moved it, or its file says now.
ALTER TABLE occurrences ADD COLUMN event_begins INTEGER;
UPDATE occurrences SET event_begins = coalesce(
    (SELECT j.event_moved_to FROM jobs AS j WHERE j.name = occurrences.job), event_at)
WHERE event_at IS NOT NULL;
-- Since when nobody follows a message any more, since whom it went to left, or is no recipient now. What comes back later does not
-- count.
ALTER TABLE messages ADD COLUMN unfollowed_at INTEGER;
