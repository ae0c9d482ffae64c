-- Whom a person keeps waiting of an occurrence waits in the one that takes its place too, also where its messages are not made yet.
INSERT INTO kept_words (occurrence, chat, step, reason, due_at)
SELECT ?2, chat, step, reason, NULL FROM (
    SELECT m.chat, m.step, m.reason FROM messages AS m
    WHERE m.occurrence = ?1 AND m.follows IS NULL AND m.state = 'held' AND m.reason IN ('held_by_person', 'repeated')
    UNION
    SELECT k.chat, k.step, k.reason FROM kept_words AS k WHERE k.occurrence = ?1 AND k.due_at IS NULL)
WHERE true
ON CONFLICT DO NOTHING
