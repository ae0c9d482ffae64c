-- Where one attempt of a message is proved to have gone out, nobody looks for another one: what is not known of that is given up.
UPDATE doubts SET verdict = 'dropped', closed_at = v.at
FROM (SELECT unhex(value ->> 0) AS message, value ->> 1 AS number, value ->> 3 AS at
      FROM json_each(?1) WHERE value ->> 2 = 'sent') AS v
WHERE doubts.message = v.message AND doubts.number <> v.number AND doubts.verdict IS NULL
