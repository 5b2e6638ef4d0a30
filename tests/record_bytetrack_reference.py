"""Records `bytetrack_reference.json`: a made scene and what roboflow's ByteTrack says about it.

    pip install 'trackers==2.6.1'        (in an environment of its own: it brings a second OpenCV)
    PYTHONPATH=. python tests/record_bytetrack_reference.py

Run again only to change the scene.
"""

import json
from pathlib import Path

import numpy as np

WALKERS, FRAMES, FPS = 6, 120, 10


def scene() -> list[list[list[float]]]:
    """Walkers to and fro at different depths; the nearer hides the farther, who is then not detected."""
    random = np.random.default_rng(11)
    starts, speeds = random.uniform(60, 700, WALKERS), random.uniform(30, 80, WALKERS)
    frames = []
    for n in range(FRAMES):
        boxes: list[list[float]] = []
        for i in reversed(range(WALKERS)):
            foot, height = 200 + 65 * i, 60 + 18 * i
            # a triangle wave between 40 and 728
            x = 40 + abs((starts[i] - 40 + speeds[i] * n / FPS) % 1376 - 688)
            x, foot = x + random.normal(0, 0.8), foot + random.normal(0, 0.8)
            box = [x - 0.2 * height, foot - height, x + 0.2 * height, foot]
            in_front = [o for o in boxes if o[1] < foot - 0.4 * height]
            hidden = any(min(box[2], o[2]) - max(box[0], o[0]) > 0.3 * height for o in in_front)
            if not hidden:
                boxes.append([round(float(v), 2) for v in (*box, random.uniform(0.75, 0.95))])
        frames.append(boxes)
    return frames


def main() -> None:
    """Write the file."""
    import supervision as sv
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(frame_rate=FPS, lost_track_buffer=90)
    recorded, identities = [], set()
    for n, boxes in enumerate(scene()):
        rows = np.array(boxes, np.float32).reshape(-1, 5)
        given = sv.Detections(xyxy=rows[:, :4], confidence=rows[:, 4], class_id=np.zeros(len(rows), int))
        found = tracker.update(given)
        tracks = [
            [int(i), *(round(float(v), 2) for v in box)]
            for i, box in zip(found.tracker_id, found.xyxy, strict=True)
            if i >= 0
        ]
        identities |= {t[0] for t in tracks}
        recorded.append({"pts": n * 90_000 // FPS, "detections": boxes, "tracks": tracks})
    answer = {"identities": len(identities), "frames": recorded}
    path = Path(__file__).with_name("bytetrack_reference.json")
    path.write_text(json.dumps(answer, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(recorded)} frames, {len(identities)} identities, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
