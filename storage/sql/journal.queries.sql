-- name: insert_event
INSERT INTO events (id, source, family, epoch, sequence, committed_us, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING

-- name: find_event
SELECT body FROM events WHERE (source = ? AND family = ? AND epoch = ? AND sequence = ?) OR id = ?

-- name: read_events
SELECT offset, body FROM events WHERE offset > ? AND offset <= ? ORDER BY offset LIMIT ?

-- name: read_families
SELECT offset, body FROM events
WHERE offset > ? AND offset <= ? AND family IN (SELECT value FROM json_each(?)) ORDER BY offset LIMIT ?

-- name: read_raw
SELECT offset, family, body FROM events WHERE offset > ? AND offset <= ? ORDER BY offset LIMIT ?

-- name: read_raw_families
SELECT offset, family, body FROM events
WHERE offset > ? AND offset <= ? AND family IN (SELECT value FROM json_each(?)) ORDER BY offset LIMIT ?

-- name: committed_at
SELECT committed_us FROM events WHERE offset > ? ORDER BY offset LIMIT 1

-- name: used_bytes
SELECT (p.page_count - f.freelist_count) * s.page_size
FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s

-- name: epoch_events
SELECT body FROM events WHERE source = ? AND family IN ('alert', 'count', 'face', 'view') AND epoch = ? ORDER BY offset

-- name: source_health
SELECT body FROM events WHERE source = ? AND family = 'health' ORDER BY offset

-- name: last_offset
SELECT coalesce(max(offset), 0) FROM events

-- name: next_sequence
SELECT coalesce(max(sequence) + 1, 0) FROM events WHERE source = ? AND family = ? AND epoch = ?

-- name: known_ids
SELECT id FROM events WHERE id IN (SELECT value FROM json_each(?))

-- name: put_state
INSERT INTO states (name, body, offset) VALUES (?, ?, (SELECT coalesce(max(offset), 0) FROM events))
ON CONFLICT (name) DO UPDATE SET body = excluded.body, offset = excluded.offset

-- name: state
SELECT body FROM states WHERE name = ?

-- name: states
SELECT name, offset, body FROM states WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 ORDER BY name

-- name: forget_state
DELETE FROM states WHERE name = ?

-- name: last_opening
SELECT coalesce(max(epoch), 0) FROM openings

-- name: last_epoch
SELECT max(coalesce((SELECT max(epoch) FROM epochs WHERE camera = ? AND stream = ?), 0),
           coalesce((SELECT max(epoch) FROM openings), 0))

-- name: highest_epoch
SELECT max(coalesce((SELECT max(epoch) FROM epochs), 0), coalesce((SELECT max(epoch) FROM openings), 0))

-- name: insert_epoch
INSERT INTO epochs (camera, stream, epoch, info) VALUES (?, ?, ?, ?)

-- name: add_epoch
INSERT INTO epochs (camera, stream, epoch, info) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: insert_anchor
INSERT INTO anchors (camera, stream, epoch, n, body)
SELECT ?1, ?2, ?3, count(*), ?4 FROM anchors WHERE camera = ?1 AND stream = ?2 AND epoch = ?3

-- name: end_epoch
UPDATE epochs SET end_pts = ?, reason = ? WHERE camera = ? AND stream = ? AND epoch = ? AND end_pts IS NULL

-- name: epochs
SELECT e.epoch, e.info, e.end_pts, e.reason, a.body
FROM epochs e JOIN anchors a USING (camera, stream, epoch)
WHERE e.camera = ? AND e.stream = ? ORDER BY e.epoch, a.n

-- name: epoch
SELECT e.epoch, e.info, e.end_pts, e.reason, a.body
FROM epochs e JOIN anchors a USING (camera, stream, epoch)
WHERE e.camera = ? AND e.stream = ? AND e.epoch = ? ORDER BY a.n

-- name: open_epochs
SELECT camera, stream, epoch FROM epochs WHERE end_pts IS NULL ORDER BY camera, stream, epoch

-- name: last_anchor
SELECT body FROM anchors WHERE camera = ? AND stream = ? AND epoch = ? ORDER BY n DESC LIMIT 1

-- name: insert_snapshot
INSERT INTO snapshots (camera, stream, epoch, segment, pts, body) VALUES (?, ?, ?, ?, ?, ?)

-- name: thin_snapshots
DELETE FROM snapshots
WHERE camera = ?1 AND stream = ?2
  AND n NOT IN (SELECT n FROM snapshots WHERE camera = ?1 AND stream = ?2 ORDER BY n DESC LIMIT ?3)
  AND (segment = '' OR n > (SELECT min(n) FROM snapshots first WHERE first.segment = snapshots.segment))

-- name: add_old_snapshot
-- Below all others, so that it is nobody's newest.
INSERT INTO snapshots (n, camera, stream, epoch, segment, pts, body)
SELECT (SELECT coalesce(min(n), 1) - 1 FROM snapshots), ?1, ?2, ?3, ?4, ?5, ?6
WHERE NOT EXISTS (SELECT 1 FROM snapshots WHERE segment = ?4)

-- name: last_snapshot
SELECT camera, stream, epoch, segment, pts, body FROM snapshots
WHERE camera = ? AND stream = ? ORDER BY n DESC LIMIT 1

-- name: segment_snapshot
SELECT camera, stream, epoch, segment, pts, body FROM snapshots
WHERE segment = ?3 AND camera = ?1 AND stream = ?2 ORDER BY n LIMIT 1

-- name: put_segment
INSERT INTO segments (id, camera, stream, epoch, n, state, start_us, end_us, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET camera = excluded.camera, stream = excluded.stream, epoch = excluded.epoch,
    n = excluded.n, state = excluded.state, start_us = excluded.start_us, end_us = excluded.end_us,
    body = excluded.body

-- name: segments
-- An open segment has no end yet: it may reach into any later time.
SELECT body FROM segments
WHERE (?1 IS NULL OR camera = ?1) AND (?2 IS NULL OR stream = ?2)
  AND (?3 IS NULL OR end_us >= ?3 OR state = 'open') AND (?4 IS NULL OR start_us <= ?4)
  AND (?5 IS NULL OR state = ?5)
ORDER BY start_us, camera, stream, epoch, n

-- name: segments_of
-- As `segments`, of one stream: by its index, where a month of many cameras would be read else.
SELECT body FROM segments
WHERE camera = ?1 AND stream = ?2
  AND (?3 IS NULL OR end_us >= ?3 OR state = 'open') AND (?4 IS NULL OR start_us <= ?4)
  AND (?5 IS NULL OR state = ?5)
ORDER BY start_us, epoch, n

-- name: delete_segment
DELETE FROM segments WHERE id = ?

-- name: forget_segment_snapshots
-- The newest few of each stream stay: the worker resumes from them.
DELETE FROM snapshots
WHERE segment = ?1
  AND n NOT IN (SELECT n FROM snapshots last
                WHERE last.camera = snapshots.camera AND last.stream = snapshots.stream ORDER BY n DESC LIMIT ?2)

-- name: add_consumer
INSERT INTO consumers (name, offset) VALUES (?, 0) ON CONFLICT DO NOTHING

-- name: commit_offset
INSERT INTO consumers (name, offset) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET offset = max(offset, excluded.offset)

-- name: rewind_consumer
UPDATE consumers SET offset = min(offset, ?) WHERE name = ?

-- name: committed_offset
SELECT offset FROM consumers WHERE name = ?

-- name: consumers
SELECT name, offset FROM consumers ORDER BY name

-- name: consumers_behind
SELECT name FROM consumers
WHERE (SELECT committed_us FROM events WHERE events.offset > consumers.offset ORDER BY events.offset LIMIT 1) < ?
ORDER BY name

-- name: forget_consumer
DELETE FROM consumers WHERE name = ?

-- name: delivered_offset
SELECT min(offset) FROM consumers

-- name: prune_events
DELETE FROM events WHERE offset IN
    (SELECT offset FROM events WHERE offset > ? AND offset <= ? AND committed_us < ?
       AND family NOT IN ('case', 'place', 'register', 'desk') ORDER BY offset LIMIT ?)

-- name: first_to_prune
SELECT offset FROM events WHERE offset > ? AND offset <= ?
   AND family NOT IN ('case', 'place', 'register', 'desk') ORDER BY offset LIMIT 1

-- name: oldest_of
-- Of some families, what everybody but one consumer has had.
SELECT offset, family FROM events
WHERE committed_us < ?1 AND family IN (SELECT value FROM json_each(?2))
  AND offset <= (SELECT coalesce(min(offset), 9223372036854775807) FROM consumers WHERE name != ?3)
ORDER BY offset LIMIT ?4

-- name: delete_events
DELETE FROM events WHERE offset IN (SELECT value FROM json_each(?))

-- name: prune_anchors
DELETE FROM anchors WHERE epoch < ?1
  AND (camera, stream, epoch) NOT IN (SELECT camera, stream, epoch FROM segments)
  AND (camera, stream, epoch) NOT IN (SELECT camera, stream, epoch FROM snapshots)
  AND epoch < (SELECT max(epoch) FROM epochs e WHERE e.camera = anchors.camera AND e.stream = anchors.stream)

-- name: prune_epochs
DELETE FROM epochs WHERE (camera, stream, epoch) NOT IN (SELECT camera, stream, epoch FROM anchors)

-- name: find_offset
SELECT offset FROM events WHERE id = ?

-- name: versions
-- What is of no stream has epoch 0, and its sequence is its version.
SELECT body FROM events WHERE source = ? AND family = ? AND epoch = 0 ORDER BY sequence

-- name: count_families
SELECT count(*) FROM events WHERE offset > ? AND family IN (SELECT value FROM json_each(?))
