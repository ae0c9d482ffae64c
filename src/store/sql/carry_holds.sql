-- Whom a person keeps waiting of an occurrence waits in the one that takes its place too.
INSERT INTO kept_words (occurrence, chat, step, reason, due_at)
SELECT ?2, m.chat, m.step, m.reason, NULL
FROM messages AS m
WHERE m.occurrence = ?1 AND m.follows IS NULL AND m.state = 'held' AND m.reason IS NOT 'replaced'
  AND m.reason IN ('held_by_person', 'repeated')
ON CONFLICT DO NOTHING
