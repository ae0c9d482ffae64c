INSERT INTO messages (id, instance, chat, class, flow, content, guard, state, due_at, wake_at, lead_ms, created_at)
SELECT randomblob(16), instance, '77@c.us', 3, 8 * 7 + 3, content, guard, 'scheduled', due_at, wake_at, lead_ms, created_at
FROM messages LIMIT 1;
