-- name: offset
SELECT offset FROM offsets WHERE log = ?

-- name: set_offset
INSERT INTO offsets (log, offset) VALUES (:log, :offset) ON CONFLICT (log) DO UPDATE SET offset = excluded.offset

-- name: insert_event
-- What was pruned was here, too.
INSERT INTO events (id, source, family, epoch, sequence, time_us, body, superseded)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
WHERE NOT EXISTS (SELECT 1 FROM pruned WHERE source = ?2 AND family = ?3 AND epoch = ?4 AND sequence >= ?5)
ON CONFLICT (source, family, epoch, sequence) DO NOTHING

-- name: add_crossings
INSERT INTO totals (source, rule, direction, label, count, last_us)
VALUES (:source, :rule, :direction, :label, :count, :last_us)
ON CONFLICT DO UPDATE SET count = count + excluded.count, last_us = max(last_us, excluded.last_us)

-- name: add_interval
INSERT INTO intervals (source, rule, start_us, epoch, sequence, end_us, counts, occupancy, observed_s, preset)
VALUES (:source, :rule, :start_us, :epoch, :sequence, :end_us, :counts, :occupancy, :observed_s, :preset)

-- name: raise_alert
-- An alert is raised once; under the same id again, it stays as it is. `handed_us`: when another box took the camera.
INSERT INTO alerts (alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us,
                    tracks, box, detail, place, preset, causes, cleared_us, until_us, reason)
VALUES (:alert, :source, :epoch, :rule, :kind, :severity, :label,
        CASE WHEN :handed_us IS NULL THEN 'open' ELSE 'cleared' END, :since_us, :time_us, :time_us,
        :tracks, :box, :detail, :place, :preset, :causes, :handed_us, :handed_us,
        CASE WHEN :handed_us IS NULL THEN NULL ELSE 'handed-over' END)
ON CONFLICT DO NOTHING

-- name: update_alert
UPDATE alerts SET updated_us = :time_us, tracks = :tracks, detail = json_patch(detail, :detail),
    box = CASE :box WHEN 'null' THEN box ELSE :box END,
    place = CASE :place WHEN 'null' THEN place ELSE :place END
WHERE alert = :alert AND (state = 'open' OR reason = 'handed-over')

-- name: clear_alert
-- The word of the box that raised it is better than that another one took the camera.
UPDATE alerts SET state = 'cleared', cleared_us = :time_us, until_us = :until_us, reason = :reason
WHERE alert = :alert AND (state = 'open' OR reason = 'handed-over')

-- name: ends
-- Of epochs, when another box had the camera: `storage/claims.py` says it in words.
SELECT source, epoch, (SELECT min(since_us) FROM claims AS c
                       WHERE c.source = own.source AND c.token > own.token AND c.box <> own.box)
FROM (
    SELECT k.source, k.epoch,
        coalesce((SELECT token FROM claims AS o WHERE o.source = k.source AND o.epoch = k.epoch
                  ORDER BY token, box LIMIT 1), -1) AS token,
        coalesce((SELECT box FROM claims AS o WHERE o.source = k.source AND o.epoch = k.epoch
                  ORDER BY token, box LIMIT 1), '') AS box,
        EXISTS (SELECT 1 FROM forgotten AS f WHERE f.source = k.source AND k.epoch <= f.epoch) AS forgotten
    FROM (SELECT json_extract(value, '$.source') AS source, json_extract(value, '$.epoch') AS epoch
          FROM json_each(:epochs)) AS k) AS own
WHERE token >= 0 OR forgotten

-- name: claims
SELECT source, epoch, token, box, since_us FROM claims WHERE source = :source

-- name: forgotten
SELECT source, epoch FROM forgotten WHERE source = :source

-- name: add_claim
INSERT INTO claims (source, epoch, token, box, since_us) VALUES (:source, :epoch, :token, :box, :since_us)
ON CONFLICT DO UPDATE SET since_us = min(since_us, excluded.since_us)

-- name: supersede
UPDATE events SET superseded = 1
WHERE source = :source AND family IN ('count', 'alert', 'view', 'face') AND epoch = :epoch AND time_us >= :end_us
    AND NOT superseded
RETURNING body

-- name: subtract_crossings
UPDATE totals SET count = count - :count
WHERE source = :source AND rule = :rule AND direction = :direction AND label = :label
RETURNING count, last_us

-- name: remove_empty_totals
DELETE FROM totals WHERE source = :source AND count <= 0

-- name: last_counted
SELECT body FROM events WHERE source = :source AND family = 'count' AND NOT superseded
ORDER BY time_us DESC LIMIT :limit

-- name: set_last
UPDATE totals SET last_us = :last_us
WHERE source = :source AND rule = :rule AND direction = :direction AND label = :label

-- name: remove_interval
DELETE FROM intervals
WHERE source = :source AND rule = :rule AND start_us = :start_us AND epoch = :epoch AND sequence = :sequence

-- name: forget_face
DELETE FROM faces WHERE capture = :capture AND deleted_us = 0

-- name: blank_face
-- As if its deletion had come first.
UPDATE faces SET at_us = 0, since_us = 0, until_us = 0, quality = 0, measures = '{}', box = '[0,0,0,0]', picture = '',
    sealed = '', place = 'null'
WHERE capture = :capture

-- name: remove_alerts
DELETE FROM alerts WHERE source = :source AND epoch = :epoch AND raised_us >= :end_us

-- name: hand_over_alerts
UPDATE alerts SET state = 'cleared', cleared_us = :end_us, until_us = :end_us, reason = 'handed-over'
WHERE source = :source AND epoch = :epoch AND (state = 'open' OR reason = 'handed-over')

-- name: remove_view
DELETE FROM views WHERE source = :source AND epoch = :epoch AND time_us >= :end_us

-- name: last_view
SELECT body FROM events WHERE source = :source AND family = 'view' AND NOT superseded
ORDER BY epoch DESC, sequence DESC LIMIT 1

-- name: set_health
-- `since_us` is when the present state began: saying it again does not change it. `event` is the one that raised
-- it: it stays when it is cleared.
INSERT INTO health (source, what, state, message, detail, since_us, seen_us, event)
VALUES (:source, :what, :state, :message, :detail, coalesce(nullif(:since_us, 0), :time_us), :time_us,
        CASE :state WHEN 'raised' THEN :id ELSE '' END)
ON CONFLICT DO UPDATE SET
    since_us = CASE WHEN state = excluded.state THEN since_us ELSE excluded.since_us END,
    event = CASE WHEN state = excluded.state OR excluded.state <> 'raised' THEN event ELSE excluded.event END,
    state = excluded.state, message = excluded.message, detail = excluded.detail, seen_us = excluded.seen_us

-- name: note_health
-- A note does not hide that something is wrong.
INSERT INTO health (source, what, state, message, detail, since_us, seen_us)
VALUES (:source, :what, 'note', :message, :detail, coalesce(nullif(:since_us, 0), :time_us), :time_us)
ON CONFLICT DO UPDATE SET
    state = excluded.state, message = excluded.message, detail = excluded.detail,
    since_us = excluded.since_us, seen_us = excluded.seen_us
WHERE state <> 'raised'

-- name: add_access
INSERT INTO access (source, time_us, who, what, object, plain, purpose, allowed)
VALUES (:source, :time_us, :who, :what, :object, :plain, :purpose, :allowed)

-- name: judge
INSERT INTO judgements (alert, verdict, judged_by, judged_us, note)
VALUES (:alert, :verdict, :who, :time_us, :note)
ON CONFLICT DO UPDATE SET verdict = excluded.verdict, judged_by = excluded.judged_by,
    judged_us = excluded.judged_us, note = excluded.note
WHERE excluded.judged_us >= judged_us

-- name: set_view
INSERT INTO views (source, state, preset, was, score, time_us, epoch, sequence)
VALUES (:source, :state, :preset, :was, :score, :time_us, :epoch, :sequence)
ON CONFLICT DO UPDATE SET state = excluded.state, preset = excluded.preset, was = excluded.was,
    score = excluded.score, time_us = excluded.time_us, epoch = excluded.epoch, sequence = excluded.sequence
WHERE (excluded.epoch, excluded.sequence) > (epoch, sequence)

-- name: add_face
-- What was deleted before stays deleted.
INSERT INTO faces (capture, source, at_us, since_us, until_us, quality, measures, box, picture, sealed, state,
                   deleted_us, place)
VALUES (:capture, :source, :at_us, :since_us, :until_us, :quality, :measures, :box, :picture, :sealed, 'kept', 0,
        :place)
ON CONFLICT DO UPDATE SET source = excluded.source, at_us = excluded.at_us, since_us = excluded.since_us,
    until_us = excluded.until_us, quality = excluded.quality, measures = excluded.measures, box = excluded.box,
    picture = excluded.picture, sealed = excluded.sealed, place = excluded.place
WHERE at_us = 0

-- name: delete_face
INSERT INTO faces (capture, source, at_us, since_us, until_us, quality, measures, box, picture, sealed, state,
                   deleted_us)
VALUES (:capture, :source, 0, 0, 0, 0, '{}', '[0,0,0,0]', '', '',
        CASE :what WHEN 'all' THEN 'deleted' ELSE 'unsealed' END, :time_us)
ON CONFLICT DO UPDATE SET deleted_us = excluded.deleted_us,
    state = CASE 'deleted' WHEN state THEN state ELSE excluded.state END

-- name: add_reading
INSERT INTO readings (source, quantity, time_us, value) VALUES (:source, :quantity, :time_us, :value)
ON CONFLICT DO NOTHING

-- name: set_sensor
-- Of two readings of one time the first stays.
INSERT INTO sensors (source, quantity, unit, value, time_us, received_us)
VALUES (:source, :quantity, :unit, :value, :time_us, :received_us)
ON CONFLICT DO UPDATE SET unit = excluded.unit, value = excluded.value, time_us = excluded.time_us,
    received_us = excluded.received_us
WHERE excluded.time_us > time_us

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

-- name: prune_judgements
-- After the alerts.
DELETE FROM judgements WHERE judged_us < ?1 AND NOT EXISTS (SELECT 1 FROM alerts WHERE alert = judgements.alert)

-- name: prune_faces
-- What is still held stays known.
DELETE FROM faces WHERE deleted_us < ?1 AND at_us < ?1 AND (state = 'deleted' OR at_us = 0)

-- name: prune_readings
DELETE FROM readings WHERE (source, quantity, time_us) IN (
    SELECT r.source, r.quantity, r.time_us FROM sensors AS s JOIN readings AS r
    ON r.source = s.source AND r.quantity = s.quantity AND r.time_us < ?1 LIMIT ?2)

-- name: forget_claims
-- The last claim from before stays: it says who has the camera.
INSERT INTO forgotten (source, epoch)
SELECT source, max(epoch) FROM claims AS old WHERE since_us < ?1 AND EXISTS (
    SELECT 1 FROM claims AS c WHERE c.source = old.source AND c.token > old.token AND c.since_us < ?1)
GROUP BY source
ON CONFLICT DO UPDATE SET epoch = max(epoch, excluded.epoch)

-- name: prune_claims
DELETE FROM claims WHERE since_us < ?1 AND EXISTS (
    SELECT 1 FROM claims AS c WHERE c.source = claims.source AND c.token > claims.token AND c.since_us < ?1)

-- name: health
SELECT source, what, state, message, detail, since_us, seen_us, event FROM health
WHERE ?1 IS NULL OR source = ?1 OR substr(source, -length(?1) - 1) = '/' || ?1 ORDER BY source, what

-- name: alerts
SELECT alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us, cleared_us,
       until_us, reason, tracks, box, detail, place, preset, causes, verdict, judged_by, judged_us, note
FROM alerts LEFT JOIN judgements USING (alert)
WHERE (?1 IS NULL OR source = ?1 OR substr(source, -length(?1) - 1) = '/' || ?1) AND (NOT ?2 OR state = 'open') AND raised_us < ?3
ORDER BY raised_us DESC, alert LIMIT ?4

-- name: alert
SELECT alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us, cleared_us,
       until_us, reason, tracks, box, detail, place, preset, causes, verdict, judged_by, judged_us, note
FROM alerts LEFT JOIN judgements USING (alert) WHERE alert = ?

-- name: intervals
SELECT source, rule, start_us, end_us, counts, occupancy, observed_s, preset FROM intervals
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
SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM events WHERE superseded),
       (SELECT count(*) FROM alerts), (SELECT count(*) FROM alerts WHERE state = 'open'),
       (SELECT json_object('true', count(*) FILTER (WHERE verdict = 'true'),
                           'false', count(*) FILTER (WHERE verdict = 'false'),
                           'ignore', count(*) FILTER (WHERE verdict = 'ignore')) FROM judgements)

-- name: views
SELECT source, state, preset, was, score, time_us FROM views ORDER BY source

-- name: faces
SELECT capture, source, at_us, since_us, until_us, quality, measures, box, picture, sealed, state FROM faces
WHERE (?1 IS NULL OR source = ?1 OR substr(source, -length(?1) - 1) = '/' || ?1) AND at_us > 0 AND at_us < ?2
ORDER BY at_us DESC, capture LIMIT ?3

-- name: face
SELECT capture, source, at_us, since_us, until_us, quality, measures, box, picture, sealed, state FROM faces
WHERE capture = ? AND at_us > 0

-- name: face_counts
SELECT count(*) FILTER (WHERE picture <> ''), count(*) FILTER (WHERE sealed <> '' AND state = 'kept')
FROM faces WHERE state <> 'deleted' AND at_us > 0

-- name: sensors
SELECT source, quantity, unit, value, time_us, received_us FROM sensors ORDER BY source, quantity

-- name: readings
-- One row per step of ?5 microseconds.
SELECT max(time_us), min(value), max(value), avg(value), count(*) FROM readings
WHERE source IN (SELECT source FROM sensors WHERE source = ?1 OR substr(source, -length(?1) - 1) = '/' || ?1)
    AND quantity = ?2 AND time_us >= ?3 AND time_us < ?4
GROUP BY (time_us - ?3) / ?5 ORDER BY 1
