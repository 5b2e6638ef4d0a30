-- name: lock_shared
SELECT pg_advisory_xact_lock_shared(%(key)s)

-- name: lock
SELECT pg_advisory_xact_lock(%(key)s)

-- name: lock_numbers
-- Says to those who read the log of events that numbers from here on may be given but not committed yet.
SELECT pg_advisory_xact_lock_shared(%(space)s + CASE WHEN is_called THEN last_value ELSE 0 END) FROM events_n_seq

-- name: last_number
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_n_seq

-- name: open_numbers
SELECT min(((classid::bigint << 32) | objid::bigint) - %(space)s) FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint >> 16) = (%(space)s >> 48)

-- name: offset
SELECT "offset" FROM offsets WHERE log = %(log)s

-- name: lock_offset
SELECT "offset" FROM offsets WHERE log = %(log)s FOR UPDATE

-- name: first_offset
INSERT INTO offsets (log, "offset") VALUES (%(log)s, 0) ON CONFLICT (log) DO NOTHING

-- name: set_offset
INSERT INTO offsets (log, "offset") VALUES (%(log)s, %(offset)s)
ON CONFLICT (log) DO UPDATE SET "offset" = excluded."offset"

-- name: insert_events
-- What was pruned was here, too.
INSERT INTO events (id, source, family, epoch, sequence, time_us, body, superseded)
SELECT a.id, a.source, a.family, a.epoch, a.sequence, a.time_us, a.body, a.superseded
FROM unnest(%(id)s::text[], %(source)s::text[], %(family)s::text[], %(epoch)s::bigint[], %(sequence)s::bigint[],
            %(time_us)s::bigint[], %(body)s::text[], %(superseded)s::boolean[])
    WITH ORDINALITY AS a (id, source, family, epoch, sequence, time_us, body, superseded, place)
WHERE NOT EXISTS (SELECT 1 FROM pruned AS p WHERE p.source = a.source AND p.family = a.family
                  AND p.epoch = a.epoch AND p.sequence >= a.sequence)
ORDER BY a.place
ON CONFLICT (source, family, epoch, sequence) DO NOTHING
RETURNING source, family, epoch, sequence

-- name: add_crossings
INSERT INTO totals (source, rule, direction, label, count, last_us)
SELECT * FROM unnest(%(source)s::text[], %(rule)s::text[], %(direction)s::text[], %(label)s::text[],
                     %(count)s::bigint[], %(last_us)s::bigint[])
ON CONFLICT (source, rule, direction, label) DO UPDATE SET count = totals.count + excluded.count,
    last_us = greatest(totals.last_us, excluded.last_us)

-- name: add_interval
INSERT INTO intervals (source, rule, start_us, epoch, sequence, end_us, counts, occupancy, observed_s, preset)
SELECT * FROM unnest(%(source)s::text[], %(rule)s::text[], %(start_us)s::bigint[], %(epoch)s::bigint[],
                     %(sequence)s::bigint[], %(end_us)s::bigint[], %(counts)s::jsonb[], %(occupancy)s::jsonb[],
                     %(observed_s)s::double precision[], %(preset)s::text[])

-- name: add_reading
INSERT INTO readings (source, quantity, time_us, value)
SELECT * FROM unnest(%(source)s::text[], %(quantity)s::text[], %(time_us)s::bigint[],
                     %(value)s::double precision[])
ON CONFLICT (source, quantity, time_us) DO NOTHING

-- name: set_sensor
-- Of two readings of one time the first stays.
INSERT INTO sensors (source, quantity, unit, value, time_us, received_us)
SELECT * FROM unnest(%(source)s::text[], %(quantity)s::text[], %(unit)s::text[], %(value)s::double precision[],
                     %(time_us)s::bigint[], %(received_us)s::bigint[])
ON CONFLICT (source, quantity) DO UPDATE SET unit = excluded.unit, value = excluded.value,
    time_us = excluded.time_us, received_us = excluded.received_us
WHERE excluded.time_us > sensors.time_us

-- name: add_access
INSERT INTO access (source, time_us, who, what, object, plain, purpose, allowed)
SELECT * FROM unnest(%(source)s::text[], %(time_us)s::bigint[], %(who)s::text[], %(what)s::text[],
                     %(object)s::text[], %(plain)s::boolean[], %(purpose)s::text[], %(allowed)s::boolean[])

-- name: set_view
INSERT INTO views (source, state, preset, was, score, time_us, epoch, sequence)
SELECT * FROM unnest(%(source)s::text[], %(state)s::text[], %(preset)s::text[], %(was)s::text[],
                     %(score)s::double precision[], %(time_us)s::bigint[], %(epoch)s::bigint[],
                     %(sequence)s::bigint[])
ON CONFLICT (source) DO UPDATE SET state = excluded.state, preset = excluded.preset, was = excluded.was,
    score = excluded.score, time_us = excluded.time_us, epoch = excluded.epoch, sequence = excluded.sequence
WHERE (excluded.epoch, excluded.sequence) > (views.epoch, views.sequence)

-- name: judge
INSERT INTO judgements (alert, verdict, judged_by, judged_us, note)
SELECT * FROM unnest(%(alert)s::text[], %(verdict)s::text[], %(who)s::text[], %(time_us)s::bigint[],
                     %(note)s::text[])
ON CONFLICT (alert) DO UPDATE SET verdict = excluded.verdict, judged_by = excluded.judged_by,
    judged_us = excluded.judged_us, note = excluded.note
WHERE excluded.judged_us >= judgements.judged_us

-- name: raise_alert
-- An alert is raised once; under the same id again, it stays as it is. `handed_us`: when another box took the camera.
INSERT INTO alerts (alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us,
                    tracks, box, detail, place, preset, causes, cleared_us, until_us, reason)
SELECT alert, source, epoch, rule, kind, severity, label, CASE WHEN handed_us IS NULL THEN 'open' ELSE 'cleared' END,
       since_us, time_us, time_us, tracks, box, detail, place, preset, causes, handed_us, handed_us,
       CASE WHEN handed_us IS NULL THEN NULL ELSE 'handed-over' END
FROM unnest(%(alert)s::text[], %(source)s::text[], %(epoch)s::bigint[], %(rule)s::text[], %(kind)s::text[],
            %(severity)s::text[], %(label)s::text[], %(since_us)s::bigint[], %(time_us)s::bigint[],
            %(tracks)s::jsonb[], %(box)s::jsonb[], %(detail)s::jsonb[], %(place)s::jsonb[], %(preset)s::text[],
            %(causes)s::jsonb[], %(handed_us)s::bigint[])
    AS a (alert, source, epoch, rule, kind, severity, label, since_us, time_us, tracks, box, detail, place, preset,
          causes, handed_us)
ON CONFLICT (alert) DO NOTHING

-- name: update_alert
UPDATE alerts SET updated_us = a.time_us, tracks = a.tracks, detail = alerts.detail || a.detail,
    box = CASE WHEN a.box = 'null' THEN alerts.box ELSE a.box END,
    place = CASE WHEN a.place = 'null' THEN alerts.place ELSE a.place END
FROM unnest(%(alert)s::text[], %(time_us)s::bigint[], %(tracks)s::jsonb[], %(detail)s::jsonb[], %(box)s::jsonb[],
            %(place)s::jsonb[]) AS a (alert, time_us, tracks, detail, box, place)
WHERE alerts.alert = a.alert AND (state = 'open' OR reason = 'handed-over')

-- name: clear_alert
-- The word of the box that raised it is better than that another one took the camera.
UPDATE alerts SET state = 'cleared', cleared_us = a.time_us, until_us = a.until_us, reason = a.reason
FROM unnest(%(alert)s::text[], %(time_us)s::bigint[], %(until_us)s::bigint[], %(reason)s::text[])
    AS a (alert, time_us, until_us, reason)
WHERE alerts.alert = a.alert AND (state = 'open' OR alerts.reason = 'handed-over')

-- name: ends
-- Of epochs, when another box had the camera: `storage/claims.py` says it in words.
SELECT k.source, k.epoch, later.since_us
FROM jsonb_to_recordset(%(epochs)s::jsonb) AS k (source text, epoch bigint)
CROSS JOIN LATERAL (
    (SELECT token, box FROM claims AS o WHERE o.source = k.source AND o.epoch = k.epoch ORDER BY token, box LIMIT 1)
    UNION ALL
    SELECT -1, '' FROM forgotten AS f WHERE f.source = k.source AND k.epoch <= f.epoch
        AND NOT EXISTS (SELECT 1 FROM claims AS o WHERE o.source = k.source AND o.epoch = k.epoch)
) AS own
CROSS JOIN LATERAL (
    SELECT min(c.since_us) AS since_us FROM claims AS c
    WHERE c.source = k.source AND c.token > own.token AND c.box <> own.box
) AS later

-- name: claims
SELECT source, epoch, token, box, since_us FROM claims WHERE source = %(source)s

-- name: forgotten
SELECT source, epoch FROM forgotten WHERE source = %(source)s

-- name: add_claim
INSERT INTO claims (source, epoch, token, box, since_us)
VALUES (%(source)s, %(epoch)s, %(token)s, %(box)s, %(since_us)s)
ON CONFLICT (source, epoch, token, box) DO UPDATE SET since_us = least(claims.since_us, excluded.since_us)

-- name: supersede
UPDATE events SET superseded = true
WHERE source = %(source)s AND family IN ('count', 'alert', 'view', 'face') AND epoch = %(epoch)s
    AND time_us >= %(end_us)s AND NOT superseded
RETURNING convert_to(body, 'UTF8')

-- name: subtract_crossings
UPDATE totals SET count = count - %(count)s
WHERE source = %(source)s AND rule = %(rule)s AND direction = %(direction)s AND label = %(label)s
RETURNING count, last_us

-- name: remove_empty_totals
DELETE FROM totals WHERE source = %(source)s AND count <= 0

-- name: last_counted
SELECT convert_to(body, 'UTF8') FROM events WHERE source = %(source)s AND family = 'count' AND NOT superseded
ORDER BY time_us DESC LIMIT %(limit)s

-- name: set_last
UPDATE totals SET last_us = %(last_us)s
WHERE source = %(source)s AND rule = %(rule)s AND direction = %(direction)s AND label = %(label)s

-- name: remove_interval
DELETE FROM intervals WHERE source = %(source)s AND rule = %(rule)s AND start_us = %(start_us)s
    AND epoch = %(epoch)s AND sequence = %(sequence)s

-- name: forget_face
DELETE FROM faces WHERE capture = %(capture)s AND deleted_us = 0

-- name: blank_face
-- As if its deletion had come first.
UPDATE faces SET at_us = 0, since_us = 0, until_us = 0, quality = 0, measures = '{}', box = '[0,0,0,0]', picture = '',
    sealed = '', place = 'null'
WHERE capture = %(capture)s

-- name: remove_alerts
DELETE FROM alerts WHERE source = %(source)s AND epoch = %(epoch)s AND raised_us >= %(end_us)s

-- name: hand_over_alerts
UPDATE alerts SET state = 'cleared', cleared_us = %(end_us)s, until_us = %(end_us)s, reason = 'handed-over'
WHERE source = %(source)s AND epoch = %(epoch)s AND (state = 'open' OR reason = 'handed-over')

-- name: remove_view
DELETE FROM views WHERE source = %(source)s AND epoch = %(epoch)s AND time_us >= %(end_us)s

-- name: last_view
SELECT convert_to(body, 'UTF8') FROM events WHERE source = %(source)s AND family = 'view' AND NOT superseded
ORDER BY epoch DESC, sequence DESC LIMIT 1

-- name: set_health
-- `since_us` is when the present state began: saying it again does not change it. `event` is the one that raised
-- it: it stays when it is cleared.
INSERT INTO health (source, what, state, message, detail, since_us, seen_us, event)
SELECT source, what, state, message, detail, coalesce(nullif(since_us, 0), time_us), time_us,
       CASE state WHEN 'raised' THEN id ELSE '' END
FROM unnest(%(source)s::text[], %(what)s::text[], %(state)s::text[], %(message)s::text[], %(detail)s::jsonb[],
            %(since_us)s::bigint[], %(time_us)s::bigint[], %(id)s::text[])
    AS a (source, what, state, message, detail, since_us, time_us, id)
ON CONFLICT (source, what) DO UPDATE SET
    since_us = CASE WHEN health.state = excluded.state THEN health.since_us ELSE excluded.since_us END,
    event = CASE WHEN health.state = excluded.state OR excluded.state <> 'raised' THEN health.event
                 ELSE excluded.event END,
    state = excluded.state, message = excluded.message, detail = excluded.detail, seen_us = excluded.seen_us

-- name: note_health
-- A note does not hide that something is wrong.
INSERT INTO health (source, what, state, message, detail, since_us, seen_us)
SELECT source, what, 'note', message, detail, coalesce(nullif(since_us, 0), time_us), time_us
FROM unnest(%(source)s::text[], %(what)s::text[], %(message)s::text[], %(detail)s::jsonb[],
            %(since_us)s::bigint[], %(time_us)s::bigint[]) AS a (source, what, message, detail, since_us, time_us)
ON CONFLICT (source, what) DO UPDATE SET
    state = excluded.state, message = excluded.message, detail = excluded.detail,
    since_us = excluded.since_us, seen_us = excluded.seen_us
WHERE health.state <> 'raised'

-- name: add_face
-- What was deleted before stays deleted.
INSERT INTO faces (capture, source, at_us, since_us, until_us, quality, measures, box, picture, sealed, state,
                   deleted_us, place)
VALUES (%(capture)s, %(source)s, %(at_us)s, %(since_us)s, %(until_us)s, %(quality)s, %(measures)s::jsonb,
        %(box)s::jsonb, %(picture)s, %(sealed)s, 'kept', 0, %(place)s::jsonb)
ON CONFLICT (capture) DO UPDATE SET source = excluded.source, at_us = excluded.at_us,
    since_us = excluded.since_us, until_us = excluded.until_us, quality = excluded.quality,
    measures = excluded.measures, box = excluded.box, picture = excluded.picture, sealed = excluded.sealed,
    place = excluded.place
WHERE faces.at_us = 0

-- name: delete_face
INSERT INTO faces (capture, source, at_us, since_us, until_us, quality, measures, box, picture, sealed, state,
                   deleted_us)
VALUES (%(capture)s, %(source)s, 0, 0, 0, 0, '{}', '[0,0,0,0]', '', '',
        CASE %(what)s WHEN 'all' THEN 'deleted' ELSE 'unsealed' END, %(time_us)s)
ON CONFLICT (capture) DO UPDATE SET deleted_us = excluded.deleted_us,
    state = CASE 'deleted' WHEN faces.state THEN faces.state ELSE excluded.state END

-- name: prune_events
-- The newest event stays. What goes is remembered: numbers of one (source, family, epoch) come in order.
WITH old AS (
    DELETE FROM events WHERE n IN (
        SELECT n FROM events WHERE time_us < %(before_us)s AND n < (SELECT max(n) FROM events)
        ORDER BY time_us LIMIT %(limit)s)
    RETURNING source, family, epoch, sequence
), known AS (
    INSERT INTO pruned (source, family, epoch, sequence)
    SELECT source, family, epoch, max(sequence) FROM old GROUP BY source, family, epoch
    ON CONFLICT (source, family, epoch) DO UPDATE SET sequence = greatest(pruned.sequence, excluded.sequence)
)
SELECT count(*) FROM old

-- name: prune_intervals
DELETE FROM intervals WHERE start_us < %(before_us)s AND end_us < %(before_us)s

-- name: prune_alerts
DELETE FROM alerts WHERE raised_us < %(before_us)s AND state = 'cleared' AND cleared_us < %(before_us)s

-- name: prune_access
DELETE FROM access WHERE time_us < %(before_us)s

-- name: prune_judgements
-- After the alerts.
DELETE FROM judgements WHERE judged_us < %(before_us)s
    AND NOT EXISTS (SELECT 1 FROM alerts WHERE alert = judgements.alert)

-- name: prune_faces
-- What is still held stays known.
DELETE FROM faces WHERE deleted_us < %(before_us)s AND at_us < %(before_us)s AND (state = 'deleted' OR at_us = 0)

-- name: prune_readings
DELETE FROM readings WHERE (source, quantity, time_us) IN (
    SELECT r.source, r.quantity, r.time_us FROM sensors AS s JOIN readings AS r
    ON r.source = s.source AND r.quantity = s.quantity AND r.time_us < %(before_us)s LIMIT %(limit)s)

-- name: forget_claims
-- The last claim from before stays: it says who has the camera.
WITH old AS (
    DELETE FROM claims WHERE since_us < %(before_us)s AND EXISTS (
        SELECT 1 FROM claims AS c WHERE c.source = claims.source AND c.token > claims.token
            AND c.since_us < %(before_us)s)
    RETURNING source, epoch
)
INSERT INTO forgotten (source, epoch) SELECT source, max(epoch) FROM old GROUP BY source
ON CONFLICT (source) DO UPDATE SET epoch = greatest(forgotten.epoch, excluded.epoch)

-- name: health
SELECT source, what, state, message, detail, since_us, seen_us, event FROM health
WHERE %(camera)s::text IS NULL OR source = %(camera)s OR right(source, length(%(camera)s) + 1) = '/' || %(camera)s
ORDER BY source, what

-- name: alerts
SELECT alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us, cleared_us,
       until_us, reason, tracks, box, detail, place, preset, causes, verdict, judged_by, judged_us, note
FROM alerts LEFT JOIN judgements USING (alert)
WHERE (%(camera)s::text IS NULL OR source = %(camera)s OR right(source, length(%(camera)s) + 1) = '/' || %(camera)s)
    AND (NOT %(open_only)s OR state = 'open') AND raised_us < %(before_us)s
ORDER BY raised_us DESC, alert LIMIT %(limit)s

-- name: alert
SELECT alert, source, epoch, rule, kind, severity, label, state, since_us, raised_us, updated_us, cleared_us,
       until_us, reason, tracks, box, detail, place, preset, causes, verdict, judged_by, judged_us, note
FROM alerts LEFT JOIN judgements USING (alert) WHERE alert = %(alert)s

-- name: intervals
SELECT source, rule, start_us, end_us, counts, occupancy, observed_s, preset FROM intervals
WHERE (%(camera)s::text IS NULL OR source = %(camera)s OR right(source, length(%(camera)s) + 1) = '/' || %(camera)s)
    AND start_us >= %(from_us)s AND start_us < %(to_us)s
ORDER BY start_us, source, rule, epoch, sequence

-- name: totals
SELECT source, rule, direction, label, count, last_us FROM totals
WHERE %(camera)s::text IS NULL OR source = %(camera)s OR right(source, length(%(camera)s) + 1) = '/' || %(camera)s
ORDER BY source, rule, direction, label

-- name: events
SELECT n, body FROM events WHERE n > %(after)s AND n <= %(last)s ORDER BY n LIMIT %(limit)s

-- name: access
SELECT source, time_us, who, what, object, plain, purpose, allowed FROM access ORDER BY n DESC LIMIT %(limit)s

-- name: sizes
-- Of a large log of events the number is the planner's estimate: to count it takes minutes.
SELECT CASE WHEN (SELECT reltuples FROM pg_class WHERE oid = 'events'::regclass) > 1000000
            THEN (SELECT reltuples FROM pg_class WHERE oid = 'events'::regclass)::bigint
            ELSE (SELECT count(*) FROM events) END,
       (SELECT count(*) FROM events WHERE superseded),
       (SELECT count(*) FROM alerts), (SELECT count(*) FROM alerts WHERE state = 'open'),
       (SELECT json_build_object('true', count(*) FILTER (WHERE verdict = 'true'),
                                 'false', count(*) FILTER (WHERE verdict = 'false'),
                                 'ignore', count(*) FILTER (WHERE verdict = 'ignore'))::text FROM judgements)

-- name: views
SELECT source, state, preset, was, score, time_us FROM views ORDER BY source

-- name: faces
SELECT capture, source, at_us, since_us, until_us, quality, measures, box, picture, sealed, state FROM faces
WHERE (%(camera)s::text IS NULL OR source = %(camera)s OR right(source, length(%(camera)s) + 1) = '/' || %(camera)s)
    AND at_us > 0 AND at_us < %(before_us)s
ORDER BY at_us DESC, capture LIMIT %(limit)s

-- name: face
SELECT capture, source, at_us, since_us, until_us, quality, measures, box, picture, sealed, state FROM faces
WHERE capture = %(capture)s AND at_us > 0

-- name: face_counts
SELECT count(*) FILTER (WHERE picture <> ''), count(*) FILTER (WHERE sealed <> '' AND state = 'kept')
FROM faces WHERE state <> 'deleted' AND at_us > 0

-- name: sensors
SELECT source, quantity, unit, value, time_us, received_us FROM sensors ORDER BY source, quantity

-- name: readings
-- One row per step of so many microseconds.
SELECT max(time_us), min(value), max(value), avg(value), count(*) FROM readings
WHERE source IN (SELECT source FROM sensors
                 WHERE source = %(sensor)s OR right(source, length(%(sensor)s) + 1) = '/' || %(sensor)s)
    AND quantity = %(quantity)s AND time_us >= %(from_us)s AND time_us < %(to_us)s
GROUP BY (time_us - %(from_us)s) / %(step)s ORDER BY 1
