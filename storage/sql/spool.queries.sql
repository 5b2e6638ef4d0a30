-- name: position
SELECT offset FROM positions WHERE journal = ?

-- name: set_position
INSERT INTO positions (journal, offset) VALUES (?, ?)
ON CONFLICT (journal) DO UPDATE SET offset = excluded.offset

-- name: add
-- The same again changes nothing; a file that was replaced waits anew.
INSERT INTO items (key, kind, urgent, path, sha256, stamp, bytes, from_us, to_us, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')
ON CONFLICT (key) DO UPDATE SET
    sha256 = excluded.sha256, stamp = excluded.stamp, bytes = excluded.bytes, from_us = excluded.from_us,
    to_us = excluded.to_us, state = 'waiting', after_us = 0, why = '', ended_us = 0
WHERE state <> 'sending' AND (items.sha256, items.stamp) <> (excluded.sha256, excluded.stamp)

-- name: next
-- A time that lies further ahead than anything is put off was set by a clock that was wrong.
SELECT key, kind, path, sha256, bytes, from_us, to_us, state, begun, why FROM items
WHERE state = 'waiting' AND (after_us <= ?1 OR after_us > ?1 + 3600000000)
ORDER BY urgent, from_us, key LIMIT 1

-- name: of_state
SELECT key, kind, path, sha256, bytes, from_us, to_us, state, begun, why FROM items
WHERE state = ? ORDER BY urgent, from_us, key LIMIT ?

-- name: newest
SELECT key, kind, path, sha256, bytes, from_us, to_us, state, begun, why FROM items
WHERE state = ?1 AND urgent = 1 AND from_us >= ?2 AND (from_us, key) < (?3, ?4)
ORDER BY from_us DESC, key DESC LIMIT ?5

-- name: state
SELECT state, bytes FROM items WHERE key = ?

-- name: move
UPDATE items SET state = ?2, begun = begun OR ?2 = 'sending', after_us = ?3, why = ?4, ended_us = ?5
WHERE key = ?1

-- name: put_off
UPDATE items SET after_us = ?2 WHERE key = ?1 AND state = 'waiting'

-- name: recover
UPDATE items SET state = 'waiting' WHERE state = 'sending'

-- name: total
UPDATE totals SET items = items + 1, bytes = bytes + ? WHERE state = ?

-- name: totals
SELECT state, items, bytes FROM totals

-- name: waiting
SELECT count(*), coalesce(sum(bytes), 0), coalesce(min(from_us), 0) FROM items WHERE state IN ('waiting', 'sending')

-- name: stamps
SELECT key, stamp FROM items WHERE kind = ?

-- name: prune_footage
DELETE FROM items WHERE state IN ('done', 'lost') AND kind = 'footage' AND ended_us < ?

-- name: forget
DELETE FROM items WHERE key = ? AND state IN ('done', 'lost')
