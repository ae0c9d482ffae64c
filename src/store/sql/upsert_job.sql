INSERT INTO jobs (name, definition, fingerprint, content, audience, first_applied_at, applied_at, next_at, plan_at,
                  then_contents, event_moved_to, event_cancelled)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
ON CONFLICT (name) DO UPDATE SET
    definition = excluded.definition, fingerprint = excluded.fingerprint, content = excluded.content,
    audience = excluded.audience, vanished = 0, applied_at = excluded.applied_at, next_at = excluded.next_at,
    plan_at = excluded.plan_at, then_contents = excluded.then_contents,
    event_moved_to = excluded.event_moved_to, event_cancelled = excluded.event_cancelled
