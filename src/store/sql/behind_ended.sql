-- Which of these messages wait, or would, for an earlier one of their sequence that ended without going out, and for which.
SELECT hex(m.id), hex(p.id) FROM json_each(?1) AS j
CROSS JOIN messages AS m ON m.id = unhex(j.value)
CROSS JOIN messages AS p ON p.occurrence = m.occurrence AND p.chat = m.chat AND p.step < m.step
WHERE m.step > 0 AND p.step >= 0 AND p.reason IS NOT 'replaced' AND p.state IN ('failed', 'cancelled', 'expired', 'skipped')
