SELECT min(wake_at) FROM messages WHERE state = 'scheduled' AND instance = ?1 AND rank = ?2 AND wake_at > ?3
