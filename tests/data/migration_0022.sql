UPDATE messages SET after_ms = 5 WHERE state = 'in_doubt';
