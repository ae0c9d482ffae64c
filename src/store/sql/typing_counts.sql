-- Typing that was shown, and calls that failed or were not answered in time.
SELECT count(*),
       count(*) FILTER (WHERE coalesce(r.typing_status, a.typing_status) IS NULL
                           OR coalesce(r.typing_status, a.typing_status) NOT BETWEEN 200 AND 299)
FROM attempts AS a
LEFT JOIN results AS r ON r.message = a.message AND r.number = a.number
WHERE a.typing_started_at IS NOT NULL
