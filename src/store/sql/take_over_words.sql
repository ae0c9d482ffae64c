-- What a person said of a message that was replaced counts for the one that took its place, and for the one after that.
UPDATE messages SET
    state      = iif(k.due_at IS NULL, 'held', messages.state),
    reason     = iif(messages.state = 'held' AND k.due_at IS NOT NULL, messages.reason, k.reason),
    expires_at = iif(k.due_at IS NULL, messages.expires_at, {expires_at}),
    wake_at    = messages.wake_at + coalesce(k.due_at - messages.due_at, 0),
    due_at     = coalesce(k.due_at, messages.due_at)
FROM kept_words AS k
WHERE k.occurrence = ?1 AND messages.occurrence = k.occurrence AND messages.chat = k.chat AND messages.step = k.step
  AND messages.reason IS NOT 'replaced' AND messages.state IN ('scheduled', 'held') AND messages.attempts = 0
