-- Kept only where it may be an attempt whose outcome is unknown, or not yet known. What is a known message of ours, or
-- was typed on the phone, is nothing new.
INSERT INTO echoes (instance, gateway_id, kind, chat, body, sent_at, told_at)
SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5, j.value ->> 6
FROM json_each(?1) AS j
WHERE NOT EXISTS (SELECT 1 FROM messages AS m
                  WHERE m.instance = j.value ->> 0 AND m.gateway_id = j.value ->> 1 AND m.state IS NOT 'in_doubt')
  AND (EXISTS (SELECT 1 FROM doubts AS d
               WHERE d.instance = j.value ->> 0 AND d.chat = j.value ->> 3 AND d.body = j.value ->> 4)
       OR EXISTS (SELECT 1 FROM doubts AS d WHERE d.instance = j.value ->> 0 AND d.named = j.value ->> 1)
       OR EXISTS (SELECT 1 FROM messages AS m
                  WHERE m.state IN ('typing', 'sending', 'in_doubt') AND m.state = 'sending'
                    AND m.instance = j.value ->> 0 AND m.chat = j.value ->> 3))
ON CONFLICT DO NOTHING
