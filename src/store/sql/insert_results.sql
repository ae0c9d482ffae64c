INSERT INTO results (message, number, at, started_at, finished_at, status, outcome, response, state, reason,
                     typing_status, typing_response, typing_refreshes, typing_stopped_at)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
       value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13
FROM json_each(?1)
