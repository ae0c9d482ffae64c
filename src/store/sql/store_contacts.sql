-- Contacts (?1, a JSON list of [chat, attributes]): a new one is added, of a known one what is said anew is laid over what was
-- known. Answers the rows that are new or changed.
INSERT INTO contacts (chat, vars, added_at, changed_at)
SELECT value ->> 0, value ->> 1, ?2, ?2 FROM json_each(?1) WHERE true
ON CONFLICT (chat) DO UPDATE SET
    vars       = json_patch(coalesce(contacts.vars, '{}'), coalesce(excluded.vars, '{}')),
    changed_at = excluded.changed_at
WHERE json_patch(coalesce(contacts.vars, '{}'), coalesce(excluded.vars, '{}')) <> coalesce(contacts.vars, '{}')
RETURNING added_at = changed_at, chat
