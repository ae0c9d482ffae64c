-- What became of doubts: id of the message, number of the attempt, verdict, when. Proof that it was sent is the last word.
UPDATE doubts SET verdict = v.verdict, closed_at = v.at
FROM (SELECT unhex(value ->> 0) AS message, value ->> 1 AS number, value ->> 2 AS verdict, value ->> 3 AS at
      FROM json_each(?1)) AS v
WHERE doubts.message = v.message AND doubts.number = v.number AND doubts.verdict IS NOT 'sent'
