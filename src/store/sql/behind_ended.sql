-- Which of these messages wait, or would, for an earlier one of their sequence that ended without going out, and for which; or for one
-- that is not there, since it was replaced or forgotten.
SELECT hex(m.id), hex(p.id) FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
CROSS JOIN messages AS p ON p.occurrence = m.occurrence AND p.chat = m.chat AND p.step < m.step
WHERE m.step > 0 AND p.step >= 0 AND p.reason IS NOT 'replaced' AND p.state IN ('failed', 'cancelled', 'expired', 'skipped')
UNION ALL
SELECT hex(m.id), NULL FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
WHERE m.step > 0
  AND NOT EXISTS (SELECT 1 FROM messages AS p
                  WHERE p.occurrence = m.occurrence AND p.chat = m.chat AND p.step = m.step - 1 AND p.reason IS NOT 'replaced')
