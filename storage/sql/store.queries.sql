-- name: offset
SELECT offset FROM offsets WHERE log = ?

-- name: set_offset
INSERT INTO offsets (log, offset) VALUES (?, ?) ON CONFLICT (log) DO UPDATE SET offset = excluded.offset

-- name: insert_event
-- What was pruned was here, too.
INSERT INTO events (id, source, family, epoch, sequence, time_us, body)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
WHERE NOT EXISTS (SELECT 1 FROM pruned WHERE source = ?2 AND family = ?3 AND epoch = ?4 AND sequence >= ?5)
ON CONFLICT (source, family, epoch, sequence) DO NOTHING

-- name: add_crossing
INSERT INTO totals (source, rule, direction, label, count, last_us)
VALUES (:source, :rule, :direction, :label, 1, :time_us)
ON CONFLICT DO UPDATE SET count = count + 1, last_us = max(last_us, excluded.last_us)

-- name: add_interval
INSERT INTO intervals (source, rule, start_us, epoch, sequence, end_us, counts, occupancy, observed_s)
VALUES (:source, :rule, :start_us, :epoch, :sequence, :end_us, :counts, :occupancy, :observed_s)

-- name: raise_alert
-- An alert is raised once; under the same id again, it stays as it is.
INSERT INTO alerts (alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us,
                    tracks, box, detail)
VALUES (:alert, :source, :epoch, :rule, :kind, :severity, :label, 'open', :since_us, :time_us, :time_us,
        :tracks, :box, :detail)
ON CONFLICT DO NOTHING

-- name: update_alert
UPDATE alerts SET updated_us = :time_us, tracks = :tracks, box = :box, detail = json_patch(detail, :detail)
WHERE alert = :alert AND state = 'open'

-- name: clear_alert
UPDATE alerts SET state = 'cleared', cleared_us = :time_us, until_us = :until_us, reason = :reason
WHERE alert = :alert AND state = 'open'

-- name: set_health
-- `since_us` is when the present state began: saying it again does not change it.
INSERT INTO health (source, what, state, message, detail, since_us, seen_us)
VALUES (:source, :what, :state, :message, :detail, :time_us, :time_us)
ON CONFLICT DO UPDATE SET
    since_us = CASE WHEN state = excluded.state THEN since_us ELSE excluded.since_us END,
    state = excluded.state, message = excluded.message, detail = excluded.detail, seen_us = excluded.seen_us

-- name: note_health
-- A note does not hide that something is wrong.
INSERT INTO health (source, what, state, message, detail, since_us, seen_us)
VALUES (:source, :what, 'note', :message, :detail, :time_us, :time_us)
ON CONFLICT DO UPDATE SET
    state = excluded.state, message = excluded.message, detail = excluded.detail,
    since_us = excluded.since_us, seen_us = excluded.seen_us
WHERE state <> 'raised'

-- name: add_access
INSERT INTO access (source, time_us, who, what, object, plain, purpose, allowed)
VALUES (:source, :time_us, :who, :what, :object, :plain, :purpose, :allowed)

-- name: old_events
-- The newest event stays, so that numbers are not given twice.
SELECT n FROM events WHERE time_us < ? AND n < (SELECT max(n) FROM events) ORDER BY time_us LIMIT ?

-- name: remember_pruned
INSERT INTO pruned (source, family, epoch, sequence)
SELECT source, family, epoch, max(sequence) FROM events WHERE n IN (SELECT value FROM json_each(?))
GROUP BY source, family, epoch
ON CONFLICT DO UPDATE SET sequence = max(sequence, excluded.sequence)

-- name: prune_events
DELETE FROM events WHERE n IN (SELECT value FROM json_each(?))

-- name: prune_intervals
DELETE FROM intervals WHERE start_us < ?1 AND end_us < ?1

-- name: prune_alerts
DELETE FROM alerts WHERE raised_us < ?1 AND state = 'cleared' AND cleared_us < ?1

-- name: prune_access
DELETE FROM access WHERE time_us < ?

-- name: health
SELECT source, what, state, message, detail, since_us, seen_us FROM health
WHERE ?1 IS NULL OR source = ?1 OR substr(source, -length(?1) - 1) = '/' || ?1 ORDER BY source, what

-- name: alerts
SELECT alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us, cleared_us,
       until_us, reason, tracks, box, detail
FROM alerts
WHERE (?1 IS NULL OR source = ?1 OR substr(source, -length(?1) - 1) = '/' || ?1) AND (NOT ?2 OR state = 'open') AND raised_us < ?3
ORDER BY raised_us DESC, alert LIMIT ?4

-- name: alert
SELECT alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us, cleared_us,
       until_us, reason, tracks, box, detail
FROM alerts WHERE alert = ?

-- name: intervals
SELECT source, rule, start_us, end_us, counts, occupancy, observed_s FROM intervals
WHERE (?1 IS NULL OR source = ?1 OR substr(source, -length(?1) - 1) = '/' || ?1) AND start_us >= ?2 AND start_us < ?3
ORDER BY start_us, source, rule, epoch, sequence

-- name: totals
SELECT source, rule, direction, label, count, last_us FROM totals
WHERE ?1 IS NULL OR source = ?1 OR substr(source, -length(?1) - 1) = '/' || ?1 ORDER BY source, rule, direction, label

-- name: events
SELECT n, body FROM events WHERE n > ? ORDER BY n LIMIT ?

-- name: access
SELECT source, time_us, who, what, object, plain, purpose, allowed FROM access ORDER BY n DESC LIMIT ?

-- name: sizes
SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM alerts),
       (SELECT count(*) FROM alerts WHERE state = 'open')
