SELECT a.number, a.marked_at, a.typing_started_at,
       coalesce(r.typing_status, a.typing_status), coalesce(r.typing_response, a.typing_response),
       coalesce(r.typing_refreshes, a.typing_refreshes), coalesce(r.typing_stopped_at, a.typing_stopped_at),
       r.at, r.started_at, r.finished_at, r.status, r.outcome, r.response, r.state, r.reason
FROM attempts AS a
LEFT JOIN results AS r ON r.message = a.message AND r.number = a.number
WHERE a.message = ?1
ORDER BY a.number
