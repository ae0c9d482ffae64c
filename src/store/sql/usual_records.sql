-- Records of accepted sends, with the acks that came before them.
-- The pluses keep the planner from looking for the state first, through an index of all that wait, or from reading the whole
-- table.
WITH v (id, attempts, tries, sent_at, gateway_id, ack, ack_at) AS (VALUES {7})
UPDATE messages SET
    state      = 'sent',
    reason     = NULL,
    tries      = v.tries,
    sent_at    = v.sent_at,
    gateway_id = coalesce(v.gateway_id, messages.gateway_id),
    ack        = coalesce(messages.ack, v.ack),
    ack_at     = coalesce(messages.ack_at, v.ack_at),
    crashes    = 0
FROM v
WHERE messages.id = +v.id
  AND messages.attempts = v.attempts
  AND +messages.state = 'sending';
INSERT INTO results (message, number, at, started_at, finished_at, status, outcome, response, state, reason,
                     typing_status, typing_response, typing_refreshes, typing_stopped_at)
SELECT column1, column2, column3, column4, column5, column6, column7, column8, 'sent', NULL,
       column9, column10, column11, column12
FROM (VALUES {12}) WHERE column1 IS NOT NULL;
INSERT INTO acks (message, participant, level, at, source)
SELECT m.id, o.participant, o.level, o.at, o.source
FROM (SELECT 1 WHERE EXISTS (SELECT 1 FROM orphan_acks))
CROSS JOIN (VALUES {1}) AS v
CROSS JOIN messages AS m ON m.id = v.column1
CROSS JOIN orphan_acks AS o ON o.instance = m.instance AND o.gateway_id = m.gateway_id
WHERE true
ON CONFLICT DO NOTHING
