-- What was on its way or in doubt when its job was removed stays withdrawn, also where a job of that name is declared again: it is
-- not tried again.
ALTER TABLE messages ADD COLUMN withdrawn INTEGER NOT NULL DEFAULT 0 CHECK (withdrawn IN (0, 1));
