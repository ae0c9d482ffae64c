-- Why nobody is told any more of a message `f`, or NULL: whom it went to opted out, left its list, is no recipient any more, or was
-- forgotten.
CASE
    WHEN f.chat GLOB 'erased-*' THEN 'cancelled_by_person'
    WHEN EXISTS (SELECT 1 FROM suppressions AS s WHERE s.chat = f.chat) THEN 'opted_out'
    WHEN f.unfollowed_at IS NOT NULL THEN 'left_list'
    WHEN {left} THEN 'left_list'
END
