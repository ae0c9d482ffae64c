-- The next wake of an instance after those that are claimed, one row for each flow of a class.
SELECT NULL, NULL, cast((SELECT min(wake_at) FROM messages
                         WHERE state = 'scheduled' AND instance = ?1 AND flow = f.value AND wake_at > ?2) AS TEXT),
       NULL, NULL, NULL, f.value
FROM json_each('[0,1,2,3,4]') AS f
