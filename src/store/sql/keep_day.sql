INSERT INTO days (day, zone, messages, states, acks, late_p50_ms, late_p99_ms, late_max_ms, counted_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (day, zone) DO UPDATE SET
    messages = excluded.messages, states = excluded.states, acks = excluded.acks,
    late_p50_ms = excluded.late_p50_ms, late_p99_ms = excluded.late_p99_ms, late_max_ms = excluded.late_max_ms,
    counted_at = excluded.counted_at
WHERE excluded.messages >= days.messages
