-- When a row of `messages` expires that is due at {due} from now on: a length counts from there, but for one that waits for an approval
-- ({draft}); an instant stays, and so does the beginning of the event that it reminds of.
nullif(min(
    coalesce((SELECT coalesce(iif({draft}, NULL, {due} + (c.manner ->> '$.expires.after')), c.manner ->> '$.expires.at')
              FROM contents AS c WHERE c.id = messages.content), 9223372036854775807),
    coalesce({event}, 9223372036854775807)), 9223372036854775807)
