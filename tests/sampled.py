"""The events that `tests/samples/` holds as they were written, version by version.

Each version's events are built with what that version knew, so the same lines build them with the package of
then, which wrote the file, and with the package of today, which has to read it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from events import binding, civic, codec
from events import events as e

SAMPLES = Path(__file__).parent / "samples"
EPOCH = 1_764_000_000_000_000
ALERT = "l70f948h5g2nfqio4pqdsol706"


def event(number: int, data: Any, source: str = "/town/camera/gate") -> e.Event:
    """The event of this number; all else follows from it."""
    return e.Event(
        id=f"{number:026x}",
        source=source,
        time_us=EPOCH + number * 1_000_003,
        epoch=EPOCH,
        sequence=number,
        pts=number * 90_000,
        data=data,
    )


def spine() -> list[e.Event]:
    """Cameras alone: from a stream to a stored alert."""
    box = (0.25, 0.5, 0.3125, 0.75)
    return [
        event(0, e.Crossing(rule="door", direction="in", label="person", track=7, at=(0.4125, 0.5))),
        event(
            1,
            e.Interval(
                rule="door",
                start_us=EPOCH,
                end_us=EPOCH + 60_000_000,
                counts={"in.person": 3, "out.person": 1},
                occupancy={},
                observed_s=59.5,
            ),
        ),
        event(
            2,
            e.AlertRaised(
                alert=ALERT,
                rule="yard",
                kind="intrusion",
                severity="major",
                label="person",
                tracks=(7, 9),
                box=box,
                since_us=EPOCH + 1_000,
                detail={"dwell_s": 3.5},
            ),
        ),
        event(3, e.AlertUpdated(alert=ALERT, rule="yard", tracks=(7,), box=box, detail={"count": 2.0})),
        event(4, e.AlertCleared(alert=ALERT, rule="yard", reason="left", until_us=EPOCH + 9_000_000)),
        event(
            5,
            e.Health(what="frozen", state="raised", message="画面静止", detail={"stream": "main"}),
        ),
        event(
            6,
            e.Segment(
                segment="gate-main-000001",
                stream="main",
                path="gate/main/000001.mp4",
                start_us=EPOCH,
                end_us=EPOCH + 60_000_000,
                bytes=1_234_567,
                sha256="ab" * 32,
                recovered=True,
            ),
        ),
        event(
            7,
            e.Access(who="desk", what="clip", object=ALERT, plain=True, purpose='a "report"', allowed=False),
            "/town/box/edge-1",
        ),
    ]


def sensors() -> list[e.Event]:
    """Domes, faces, sensors, judgements; places on the ground."""
    place = (117.1573721, 35.1042356)
    box = (0.25, 0.5, 0.3125, 0.75)
    return [
        event(
            0,
            e.Crossing(
                rule="door",
                direction="out",
                label="bicycle",
                track=7,
                at=(0.4125, 0.5),
                place=place,
                speed_mps=1.25,
                preset="gate",
            ),
        ),
        event(
            1,
            e.Interval(
                rule="square",
                start_us=EPOCH,
                end_us=EPOCH + 60_000_000,
                counts={"max.person": 4},
                occupancy={"person": 1.75},
                observed_s=30.25,
                preset="square",
            ),
        ),
        event(
            2,
            e.AlertRaised(
                alert=ALERT,
                rule="open-and-near",
                kind="joint",
                severity="critical",
                label="person",
                since_us=EPOCH + 1_000,
                detail={"why": "manhole open; person near it"},
                place=place,
                causes=("a" * 26, "b" * 26),
            ),
            "/town/joint/open-and-near",
        ),
        event(3, e.AlertUpdated(alert=ALERT, rule="open-and-near", detail={"distance_m": 2.5}, place=place)),
        event(4, e.AlertCleared(alert=ALERT, rule="open-and-near", reason="parted", until_us=EPOCH + 9)),
        event(5, e.ViewChanged(state="settled", preset="gate", was="square", score=0.9375)),
        event(6, e.ViewChanged(state="moving", was="gate")),
        event(
            7,
            e.FaceCaptured(
                capture="c" * 26,
                track=3,
                since_us=EPOCH,
                until_us=EPOCH + 2_000_000,
                at_us=EPOCH + 1_000_000,
                box=box,
                place=place,
                quality=0.75,
                measures={"size": 0.9, "width_px": 96.0},
                picture="faces/c.jpg",
                sealed="faces/c.age",
            ),
        ),
        event(8, e.FaceDeleted(capture="c" * 26, what="sealed", reason="expired")),
        event(
            9,
            e.Reading(quantity="level", value=0.85, unit="m", received_us=EPOCH + 9_500_000),
            "/town/sensor/well-3",
        ),
        event(10, e.Judged(alert=ALERT, rule="yard", verdict="ignore", who="desk", note="送货 delivery")),
        event(11, e.Health(what="turned", state="cleared", message="as before", detail={}, since_us=EPOCH)),
        event(
            12,
            e.Segment(
                segment="gate-main-000002",
                stream="main",
                path="gate/main/000002.mp4",
                start_us=EPOCH,
                end_us=EPOCH + 60_000_000,
                bytes=0,
                sha256="cd" * 32,
            ),
        ),
        event(
            13,
            e.Access(who="unknown 192.0.2.7", what="face", object="c", plain=False, purpose="", allowed=True),
            "/town/box/edge-1",
        ),
    ]


def engines() -> list[e.Event]:
    """Many boxes, and all that goes over Kafka."""
    claim = e.ClaimTaken(
        stream="main", stream_epoch=EPOCH, token=4711, box="edge-2", since_us=EPOCH + 1_000_000
    )
    return [*sensors(), event(14, claim)]


def city() -> list[e.Event]:
    """The city's work beside all that: cases, the map, the registers, the desk."""
    case, place = civic.case_source("town", "k" * 26), (117.1573721, 35.1042356)
    clock = civic.Deadline(
        name="handle",
        kind="working-days",
        amount=5.0,
        started_us=EPOCH,
        due_us=EPOCH + 604_800_000_000,
        warn_us=EPOCH + 518_400_000_000,
    )
    stopped = msgspec.structs.replace(clock, stopped_us=EPOCH + 9, left=-0.5, told=("warned", "overdue"))
    met = msgspec.structs.replace(clock, name="sign", kind="hours", met_us=EPOCH + 7)
    key = "registers/batch-1"
    said: list[tuple[str, Any]] = [
        (
            case,
            civic.CaseOpened(
                scenario="matter",
                pack="ab" * 32,
                state="reported",
                title="暴露垃圾 rubbish",
                category="0203",
                code_system="GB/T 30428.2-2013",
                severity="major",
                level="community",
                area="370481001001G03",
                place=place,
                holder="cleaning",
                deadlines=(clock, met),
                cause=ALERT,
                component="3704810203000001",
                estate="e-1",
                channel="hotline",
                reference="2026-000123",
                sealed="words/1",
                public=True,
                occurred_us=EPOCH - 5,
                who="wang",
                role="grid worker",
                detail={"kind": "help", "count": 2, "urgent": True, "share": 0.5},
            ),
        ),
        (
            case,
            civic.CaseStepped(
                action="park",
                was="handling",
                state="parked",
                final=False,
                level="town",
                area="370481001",
                place=None,
                category="0203",
                holder="cleaning",
                helpers=("roads", "water"),
                deadlines=(stopped,),
                marks=("parked", "supervised"),
                who="li",
                role="dispatcher",
                approver="zhao",
                other="m" * 26,
                note="等材料",
                sealed="words/2#7",
                detail={"clock": "handle"},
            ),
        ),
        (
            civic.place_source("town", "component", "batch"),
            civic.PlacesImported(
                what="component",
                object="map/component-1",
                sha256="cd" * 32,
                rows=400_000,
                rejected=12,
                origin="survey.gpkg",
                complete=True,
                valid_us=EPOCH,
                who="surveyor",
            ),
        ),
        (
            civic.place_source("town", "grid", "370481001001G03"),
            civic.PlaceChanged(what="grid", feature="370481001001G03", body="", valid_us=EPOCH, who="admin"),
        ),
        (
            civic.desk_source("town"),
            civic.RegisterImported(
                what="person",
                object=key,
                sha256="ef" * 32,
                rows=10,
                rejected=1,
                origin="people.xlsx",
                purpose="survey of 2026",
                who="clerk",
            ),
        ),
        (
            civic.register_source("town", "person", "r1"),
            civic.RegisterChanged(what="person", entry="r1", object=key, who="clerk"),
        ),
        (
            civic.register_source("town", "person", "r1"),
            civic.RegisterErased(what="person", entry="r1", reason="expired", who="policy"),
        ),
        (
            civic.desk_source("town", "x" * 26),
            civic.Rated(
                entry="x" * 26,
                state="contested",
                company="garden",
                estate="e-1",
                category="redone",
                points=-1.5,
                since_us=EPOCH,
                expires_us=EPOCH + 31_536_000_000_000,
                cause="k" * 26,
                note="not ours",
                who="garden",
            ),
        ),
        (
            civic.desk_source("town", "day:2026-10-01"),
            civic.DayChanged(day="2026-10-01", is_="holiday", name="国庆节", who="admin"),
        ),
    ]
    return [
        *engines(),
        *(
            msgspec.structs.replace(event(number, data, source), epoch=0, pts=0)
            for number, (source, data) in enumerate(said, 15)
        ),
    ]


VERSIONS = {"spine": spine, "sensors": sensors, "engines": engines, "city": city}
"""Oldest first. What is there is never changed: a new version, or a new type, is a new file."""


def stored(version: str) -> list[bytes]:
    """The documents that the version wrote."""
    return (SAMPLES / f"{version}.jsonl").read_bytes().splitlines()


def kafka(version: str) -> list[binding.Message]:
    """The records that the version wrote on Kafka; none if it knew nothing of Kafka."""
    path = SAMPLES / f"{version}-kafka.jsonl"
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [
        binding.Message(
            family="",
            key=line["key"].encode(),
            value=line["value"].encode(),
            headers=[(name, text.encode()) for name, text in line["headers"]],
        )
        for line in lines
    ]


def main(version: str) -> None:
    """Write what today's program makes of the version's events."""
    bodies = [codec.encode(event) for event in VERSIONS[version]()]
    with (SAMPLES / f"{version}.jsonl").open("xb") as file:
        file.writelines(body + b"\n" for body in bodies)
    with (SAMPLES / f"{version}-kafka.jsonl").open("x") as file:
        for message in map(binding.message, bodies):
            record = {
                "key": message.key.decode(),
                "headers": [[name, value.decode()] for name, value in message.headers],
                "value": message.value.decode(),
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
