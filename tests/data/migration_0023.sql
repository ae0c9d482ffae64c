UPDATE occurrences SET forgotten = 1, event_begins = 7;
UPDATE messages SET unfollowed_at = 3 WHERE state = 'in_doubt';
