INSERT INTO events (message, at, from_state, to_state, note)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4
FROM json_each(?1)
