INSERT INTO attempts (message, number, marked_at, slot_at, paced,
                      typing_started_at, typing_status, typing_response, typing_refreshes, typing_stopped_at, body)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4,
       value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10
FROM json_each(?1)
