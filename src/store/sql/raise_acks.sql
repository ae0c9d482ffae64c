-- The ack shown is the highest of all that came, by rank: error stands above server and below device. Never lowered.
UPDATE messages SET ack = best.level, ack_at = best.at
FROM (
    SELECT a.message, a.level, a.at,
           max(CASE a.level WHEN 0 THEN 0 WHEN 1 THEN 1 WHEN -1 THEN 2 ELSE a.level + 1 END) AS rank
    FROM json_each(?1) AS j
    CROSS JOIN acks AS a ON a.message = unhex(j.value)
    GROUP BY a.message
) AS best
WHERE messages.id = best.message
  AND (messages.ack IS NULL
       OR best.rank > CASE messages.ack WHEN 0 THEN 0 WHEN 1 THEN 1 WHEN -1 THEN 2 ELSE messages.ack + 1 END)
