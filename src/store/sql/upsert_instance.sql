INSERT INTO instances (name, gateway, definition, changed_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (name) DO UPDATE SET gateway = excluded.gateway, definition = excluded.definition
