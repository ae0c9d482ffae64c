-- Hidden occurrences of a job of which only followers of earlier messages wait any more.
UPDATE occurrences SET state = 'planned'
WHERE job = ?1 AND state = 'planning' AND gate_at IS NULL AND planned_at IS NOT NULL
  AND EXISTS (SELECT 1 FROM messages AS m
              WHERE m.occurrence = occurrences.id AND m.reason IS NOT 'replaced' AND m.state = 'scheduled'
                AND m.follows IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM messages AS m
                  WHERE m.occurrence = occurrences.id AND m.reason IS NOT 'replaced' AND m.state = 'scheduled'
                    AND m.follows IS NULL)
