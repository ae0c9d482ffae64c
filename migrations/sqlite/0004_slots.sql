-- The instant a message leaves, fixed when its typing begins: typing that began a moment late does not move it.
ALTER TABLE messages ADD COLUMN slot_at INTEGER;
