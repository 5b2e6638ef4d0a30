"""Status files as a box's processes write them, with every part at work."""

from pathlib import Path

import msgspec

from pipeline.cluster_status import ClusterStatus
from pipeline.relay import RelayStatus
from pipeline.sensors import SensorStatus
from pipeline.shipping_status import ShippingStatus
from pipeline.worker import CameraStatus, WorkerStatus


def camera(name: str, connected: bool = True) -> CameraStatus:
    """One that has run for ten minutes."""
    return CameraStatus(
        camera=name,
        connected=connected,
        state="awake",
        mode="full",
        shedding=not connected,
        behind_s=0.4,
        blind_s=0.2,
        packets=15_000,
        decoded=3000,
        probed=200,
        inferred=2900,
        refused=12,
        skipped=3,
        wakes=41,
        tracks=57,
        stream_s=600.0,
        segments=10,
        segment_bytes=90_000_000,
    )


WORKER = WorkerStatus(
    worker="worker-0",
    pid=4711,
    cameras=(camera("gate"), camera("plaza", connected=False)),
    events=1200,
    conflicts=0,
    problem="",
    load=0.43,
    stuck_s=0.0,
    lag_ms_p99=180.0,
    wake_ms_p99=90.0,
    cpu_ms=83_000.0,
    stream_s=1200.0,
    stage_ms={"decode": 21_000.0, "infer": 48_000.0},
)

RELAY = RelayStatus(
    connected=True,
    problem="",
    resting={"view": "the topic linli.view is not there"},
    offset=1210,
    acknowledged_offset=1100,
    lag_events=110,
    lag_s=4.25,
    in_flight=90,
    sent=1190,
    acknowledged=1100,
    repeats=4,
    bytes=640_000,
    sessions=2,
    letters=1,
    given_up=0,
    rate=180.0,
    clock_s=-0.02,
)

SHIPPING = ShippingStatus(
    pid=4712,
    state="sending",
    problem="",
    waiting=14,
    waiting_bytes=126_000_000,
    oldest_us=1_700_000_000_000_000,
    oldest_s=840.0,
    now="demo/footage/gate/1.mp4",
    now_bytes=9_000_000,
    now_sent=1_000_000,
    limit_bytes_s=None,
    sent=300,
    sent_bytes=2_700_000_000,
    failures=2,
    done=12_000,
    done_bytes=100_000_000_000,
    lost=3,
    lost_bytes=27_000_000,
    seen_us=1_700_000_840_000_000,
)

CLUSTER = ClusterStatus(
    box="box-1",
    state="member",
    shares=(0, 3, 5),
    tokens={"gate": 17, "plaza": 18},
    generation=4,
    rebalances=2,
    rebalance_s=1.5,
    problem="",
)

SENSORS = SensorStatus(
    pid=4713,
    deliveries=900,
    readings=1800,
    repeats=20,
    refused={"clock": 5, "unknown": 1},
    dropped=0,
    waiting=2,
    lag_ms_p50=4.0,
    lag_ms_p99=30.0,
    cpu_ms=1500.0,
    connected={"mqtt.example.org:8883": True},
    problem="",
)


def write_statuses(run: Path) -> None:
    """All of them, as the processes name them."""
    for name, status in (
        ("worker-0", WORKER),
        ("relay", RELAY),
        ("shipping", SHIPPING),
        ("cluster", CLUSTER),
        ("sensors", SENSORS),
    ):
        (run / f"{name}.json").write_bytes(msgspec.json.encode(status))
