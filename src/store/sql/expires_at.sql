-- When a row of `messages` expires that is due at {due} from now on: a length counts from there, an instant stays, and so does the
-- beginning of the event that it reminds of.
nullif(min(
    coalesce((SELECT coalesce({due} + (c.manner ->> '$.expires.after'), c.manner ->> '$.expires.at')
              FROM contents AS c WHERE c.id = messages.content), 9223372036854775807),
    coalesce((SELECT e.event_at FROM occurrences AS e WHERE e.id = messages.occurrence AND messages.due_at < e.event_at),
             9223372036854775807)), 9223372036854775807)
