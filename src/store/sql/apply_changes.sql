-- The one statement that changes a state: guarded by id, number of attempts, and the states the row may be in.
-- A mark (slot given) and shown typing (leaves_at given) are refused for a row that waits for a later wake, or whose
-- occurrence is hidden; a mark not where typing had begun before a changed job hid it: what is in hand stays as it was.
-- The end of a lead leaves a row alone that somebody put off meanwhile, and whatever is judged by when it was due (judged given) one
-- that was moved.
UPDATE messages SET
    state           = v.state,
    reason          = v.reason,
    wake_at         = coalesce(v.wake_at, messages.wake_at),
    attempts        = coalesce(v.number, messages.attempts),
    tries           = coalesce(v.tries, messages.tries),
    first_marked_at = coalesce(messages.first_marked_at, v.marked_at),
    typing_at       = coalesce(v.typing_at, messages.typing_at),
    slot_at         = coalesce(v.leaves_at, messages.slot_at),
    sent_at         = coalesce(v.sent_at, messages.sent_at),
    gateway_id      = coalesce(v.gateway_id, messages.gateway_id),
    ack             = coalesce(messages.ack, v.ack),
    ack_at          = coalesce(messages.ack_at, v.ack_at),
    -- What a person gives another chance expires no more, but with its event; what is moved keeps its distance, but for what
    -- comes back from a doubt.
    expires_at      = CASE WHEN v.afresh = 1 THEN {event}
                           WHEN v.due_at IS NULL OR v.reason = 'resent_on_doubt' THEN messages.expires_at
                           ELSE {expires_at} END,
    due_at          = coalesce(v.due_at, messages.due_at),
    -- What came to an end, or was let go by a person, begins to be counted anew.
    crashes         = iif(v.accepts IN (',sending,', ',held,'), 0, messages.crashes),
    -- What a person gives another chance is withdrawn no more, and followed anew.
    withdrawn       = iif(v.afresh = 1, 0, messages.withdrawn),
    followed        = iif(v.afresh = 1 AND messages.followed IS NOT NULL, 'waiting', messages.followed),
    follow_at       = iif(v.afresh = 1 AND messages.followed IS NOT NULL, 0, messages.follow_at),
    unfollowed_at   = iif(v.afresh = 1, NULL, messages.unfollowed_at)
FROM (
    SELECT unhex(value ->> 0) AS id, value ->> 1 AS attempts, value ->> 2 AS accepts, value ->> 3 AS state,
           value ->> 4 AS reason, value ->> 5 AS wake_at, value ->> 6 AS number, value ->> 7 AS tries,
           value ->> 8 AS marked_at, value ->> 9 AS typing_at, value ->> 10 AS sent_at, value ->> 11 AS gateway_id,
           value ->> 12 AS ack, value ->> 13 AS ack_at, value ->> 14 AS slot,
           value ->> 15 AS due_at, value ->> 16 AS afresh, value ->> 17 AS leaves_at,
           value ->> 18 AS judged
    FROM json_each(?1)
) AS v
WHERE messages.id = v.id
  AND messages.attempts = v.attempts
  AND instr(v.accepts, ',' || messages.state || ',') > 0
  AND (coalesce(v.slot, v.leaves_at) IS NULL
       OR (messages.wake_at <= coalesce(v.slot, v.leaves_at)
           AND NOT EXISTS (SELECT 1 FROM occurrences AS o
                           WHERE o.id = messages.occurrence AND o.state = 'planning'
                             AND (messages.state <> 'typing' OR o.gate_at IS NOT NULL))))
  AND (v.judged IS NULL OR messages.due_at = v.judged)
  AND (v.reason IS NOT 'lead_ended' OR messages.state = 'typing' OR messages.wake_at <= v.wake_at)
  -- What was replaced comes back only where nothing stands in its place.
  AND (messages.reason IS NOT 'replaced' OR v.reason IS 'replaced'
       OR NOT EXISTS (SELECT 1 FROM messages AS s
                      WHERE s.occurrence = messages.occurrence AND s.chat = messages.chat AND s.step = messages.step
                        AND s.reason IS NOT 'replaced'))
RETURNING hex(messages.id)
