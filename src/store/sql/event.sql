-- When the event begins that a row of `messages` reminds of beforehand, as it stands now; NULL where it reminds of none. Asking again
-- reminds as well, telling somebody else does not.
(SELECT coalesce(e.event_begins, e.event_at) FROM occurrences AS e
 WHERE e.id = messages.occurrence AND e.nominal_at < e.event_at AND messages.step > -1000)
