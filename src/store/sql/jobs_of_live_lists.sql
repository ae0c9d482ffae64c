-- Jobs whose recipients are whoever is in a list at the time.
SELECT name FROM jobs WHERE definition ->> '$.live' IS NOT NULL
