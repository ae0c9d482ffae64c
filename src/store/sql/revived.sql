-- What comes back with messages that get another chance, or turn out to have gone out: what was skipped since these had not gone, each as
-- far behind them as declared. Not where another message between them ended for itself; and by evidence alone not where the job was
-- removed or the campaign called off meanwhile: that takes a person.
SELECT hex(m.id),
       coalesce((SELECT e.from_state FROM events AS e WHERE e.message = m.id AND e.to_state = 'skipped' ORDER BY e.at DESC LIMIT 1),
                'scheduled'),
       coalesce(iif(s.state = 'sent', s.sent_at, NULL), s.due_at)
           + (SELECT sum(coalesce(b.after_ms, 0)) FROM messages AS b
              WHERE b.occurrence = m.occurrence AND b.chat = m.chat AND b.step > s.step AND b.step <= m.step
                AND b.reason IS NOT 'replaced'),
       -- What of a draft was held waits for its approval.
       coalesce((SELECT c.manner ->> '$.hold' FROM contents AS c WHERE c.id = m.content), 0)
FROM json_each(?1) AS j
CROSS JOIN messages AS s ON s.id = unhex(j.value ->> 0)
CROSS JOIN messages AS m ON m.occurrence = s.occurrence AND m.chat = s.chat AND m.step > s.step
WHERE s.step >= 0 AND s.step + 1 < s.steps AND m.reason IS NOT 'replaced'
  AND m.state = 'skipped' AND m.reason = 'sequence' AND m.attempts = 0
  AND (j.value ->> 1
       OR EXISTS (SELECT 1 FROM occurrences AS o
                  WHERE o.id = m.occurrence AND o.cancelled_at IS NULL
                    AND (m.job IS NULL OR EXISTS (SELECT 1 FROM jobs WHERE name = m.job)
                         OR EXISTS (SELECT 1 FROM imports AS i WHERE i.occurrence = o.id))))
  AND NOT EXISTS (SELECT 1 FROM messages AS b
                  WHERE b.occurrence = m.occurrence AND b.chat = m.chat AND b.step >= 0 AND b.step < m.step
                    AND b.reason IS NOT 'replaced' AND b.reason IS NOT 'sequence'
                    AND b.state IN ('failed', 'cancelled', 'expired', 'skipped'))
