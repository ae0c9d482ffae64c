UPDATE messages SET withdrawn = 1 WHERE state = 'in_doubt';
