-- Whether anything is still to be deleted through these instances: not what is in doubt, nor through those that are down.
SELECT EXISTS (
    SELECT 1 FROM json_each(?1) AS j
    CROSS JOIN instances AS i ON i.name = j.value
    CROSS JOIN recalls AS r ON r.instance = i.name
    WHERE r.state = 'open' AND r.sent_at IS NOT NULL AND i.state <> 'down'
) OR EXISTS (
    SELECT 1 FROM recalls AS r
    CROSS JOIN messages AS m ON m.id = r.message
    WHERE r.sent_at IS NULL AND r.state IN ('open', 'unsent') AND r.state = 'open' AND m.state NOT IN ('sending', 'in_doubt')
)
