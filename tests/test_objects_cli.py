"""`linli objects` on a real store: set up, asked, listed, fetched; and footage that replays after its way
there and back."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from click.testing import CliRunner, Result

from cli import settings, shipping, wiring
from cli.main import main
from events.clock import ManualClock, SystemClock
from events.errors import ConfigError
from events.events import Health
from pipeline.gathering import item_of
from pipeline.replay import Replayer
from pipeline.restoring import find, restore
from storage.papers import papers_key, read_papers
from storage.retention import Hold
from storage.rows import SegmentRow
from storage.s3objects import S3Objects
from testbed.rtsp import GstServer
from testbed.s3 import S3
from tests.loopmaker import draw, visits
from tests.recorded import Recorded, open_site, record
from tests.servers import started
from tests.shipworks import rounds
from tests.siteworks import Site, site_file, until


def section(s3: S3, bucket: str, more: str = "") -> str:
    return f"""
[objects]
url = "{s3.endpoint}"
bucket = "{bucket}"
credentials = "env:STORE"
{more}
"""


def with_objects(site: Path, text: str) -> settings.Settings:
    """The site file with an [objects] section; one that was there goes."""
    before = site.read_text().split("\n[objects]")[0]
    site.write_text(before + text)
    return settings.load(site)


@pytest.fixture
def site(tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Eight seconds of one camera."""
    monkeypatch.setenv("STORE", f"{s3.access}:{s3.secret}")
    opened = open_site(tmp_path)
    record(opened, draw(tmp_path / "clip.mp4", 8, visits((15, 40))))
    yield opened
    opened.journal.close()


def linli(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["objects", *map(str, args)])


def states(result: Result) -> dict[str, str]:
    return {line.split()[1].rstrip(":"): line.split()[0] for line in result.stdout.splitlines()}


def ship(site: Recorded) -> None:
    """All that the site has, by the service that wiring makes."""
    spool = shipping.open_spool(site.loaded)
    service = shipping.shipper(site.loaded, site.journal, spool, site.clock)
    rounds(service, site.clock)
    assert service.status().waiting == 0
    service._write_status(now=True)
    spool.close()


# --- set up


def test_apply_makes_what_check_asks_for(site: Recorded, s3: S3) -> None:
    more = "expire_days = 40\nlock_days = 2\n"
    path = with_objects(site.loaded.path, section(s3, "for-apply", more)).path
    before = linli("check", path)
    assert before.exit_code == 1
    assert "linli objects apply" in before.stdout
    assert s3.secret not in before.output
    first, second = linli("apply", path), linli("apply", path)
    assert "is made, with object lock" in first.stdout
    assert "is there" in second.stdout
    after = linli("check", path)
    assert after.exit_code == 0, after.output
    assert states(after) == {
        "bucket": "ok",
        "probe": "ok",
        "versioning": "ok",
        "lock": "ok",
        "lifecycle": "ok",
        "encryption": "warn",
    }
    assert "GOVERNANCE, 2 days" in after.stdout
    assert "expiry after 40 days, unfinished uploads end" in after.stdout
    assert "they cannot be deleted before their lock ends" in after.stdout
    assert json.loads(linli("check", path, "--json").stdout.splitlines()[0])["state"] == "ok"


def test_rules_of_others_and_of_other_sites_stay(site: Recorded, s3: S3, bucket: str) -> None:
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

    text = section(s3, bucket, "expire_days = 40\n")
    loaded = with_objects(site.loaded.path, text)
    client = S3Objects(shipping.s3_place(loaded, os.environ))._client
    rule = Rule(ENABLED, rule_filter=Filter(prefix="x/"), rule_id="theirs", expiration=Expiration(days=9))
    client.set_bucket_lifecycle(bucket, LifecycleConfig([rule]))
    assert linli("apply", loaded.path).exit_code == 0
    with_objects(loaded.path, section(s3, bucket, 'expire_days = 7\nprefix = "other"\n'))
    assert linli("apply", loaded.path).exit_code == 0
    with_objects(loaded.path, section(s3, bucket))
    assert linli("apply", loaded.path).exit_code == 0
    found = client.get_bucket_lifecycle(bucket)
    assert found is not None
    days = sorted(rule.expiration.days for rule in found.rules if rule.expiration and rule.expiration.days)
    assert days == [7, 9], "the first site's rule went, as its file says"
    assert "rules of others: theirs" in linli("check", loaded.path).stdout


def test_a_key_that_may_only_read_is_told_what_it_lacks(
    site: Recorded, s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", f"{s3.reader_access}:{s3.reader_secret}")
    path = with_objects(site.loaded.path, section(s3, bucket, "expire_days = 4\n")).path
    result = linli("check", path)
    assert result.exit_code == 1
    assert "does not let this access key store linli-check/probe" in result.stdout
    assert linli("apply", path).exit_code == 2


def test_a_lock_that_comes_too_late_is_told(site: Recorded, s3: S3, bucket: str) -> None:
    path = with_objects(site.loaded.path, section(s3, bucket, "lock_days = 2\n")).path
    result = linli("apply", path)
    assert result.exit_code == 2
    assert "name a new bucket" in result.output
    assert states(linli("check", path))["lock"] == "fail"


def test_secrets_that_are_not_there(
    site: Recorded, s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_objects(site.loaded.path, section(s3, bucket)).path
    monkeypatch.setenv("STORE", "onlythesecret")
    wrong = linli("check", path)
    assert (wrong.exit_code, "access:secret" in wrong.output) == (2, True)
    assert "onlythesecret" not in wrong.output
    monkeypatch.delenv("STORE")
    assert "environment variable STORE is not set" in linli("check", path).output
    secret = path.parent / "secret"
    secret.write_text(f"{s3.access}:{s3.secret}\n")
    secret.chmod(0o644)
    text = section(s3, bucket).replace("env:STORE", "file:secret")
    with_objects(path, text)
    assert "chmod 600" in linli("check", path).output
    secret.chmod(0o600)
    assert linli("check", path).exit_code == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("expire_days = 5\nlock_days = 9", "nothing could expire"),
        ('sse = "customer"', "sse_key go together"),
        ('age = ["AGE-SECRET-KEY-1"]', "age"),
        ('schedule = [{ start = "25:00", end = "06:00" }]', "schedule"),
        ("part_mb = 1", "part_mb"),
        ('ship = ["faces"]', "ship"),
    ],
)
def test_wrong_settings_are_refused(site: Recorded, s3: S3, more: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        with_objects(site.loaded.path, section(s3, "a-bucket", more))


# --- there and back


@pytest.mark.parametrize("sealed", [False, True])
def test_footage_replays_after_its_way_there_and_back(
    site: Recorded, s3: S3, bucket: str, tmp_path: Path, sealed: bool
) -> None:
    key = pyrage.x25519.Identity.generate()
    identity = tmp_path / "identity"
    identity.write_text(f"{key}\n")
    identity.chmod(0o600)
    more = f'age = ["{key.to_public()}"]\n' if sealed else ""
    site.loaded = with_objects(site.loaded.path, section(s3, bucket, more))
    ship(site)
    kept = {p.relative_to(site.footage): p.read_bytes() for p in site.footage.rglob("*") if p.is_file()}
    assert len(kept) == 8, "four segments and their traces"
    before = Replayer("town", "gate", "main", site.journal, site.footage, site.model).as_seen(site.make_lane)
    for row in site.journal.segments():
        site.journal.delete_segment(row.id)
    shutil.rmtree(site.footage)
    site.footage.mkdir()
    asked = ["restore", site.loaded.path, "--camera", "gate", "--from", "2020-01-01T00:00:00Z"]
    asked += ["--to", "2030-01-01T00:00:00Z", "--json"]
    with_keys = ["--identity", identity] if sealed else []
    assert "older than recording.keep_days" in linli(*asked).output
    if sealed:
        refused = linli(*asked, "--into", tmp_path / "other")
        assert refused.exit_code == 2
        assert "--identity FILE" in refused.output
    narrow = ["--from", "2025-06-15T00:00:00Z", "--to", "2025-06-16T00:00:00Z"]
    from_into = linli(*asked, *narrow, "--into", tmp_path / "other", *with_keys)
    assert from_into.exit_code == 0, from_into.output
    figures = json.loads(from_into.stdout.splitlines()[-1])
    assert (figures["segments"], figures["here"], figures["failed"]) == (4, 0, {})
    again = linli(*asked, *narrow, "--into", tmp_path / "other", *with_keys)
    assert json.loads(again.stdout.splitlines()[-1])["here"] == 4
    root = tmp_path / "other" / "footage"
    assert {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()} == kept
    # Into the site's own folder, whose journal still has the events: by the clock of the recording.
    shutil.copytree(root, site.footage, dirs_exist_ok=True)
    store = S3Objects(shipping.s3_place(site.loaded, os.environ), identities=[key])
    found = list(find(store, "gate", *_span(site)))
    done = restore(store, found, site.footage, site.journal)
    assert (done.segments, done.here) == (0, 4)
    after = Replayer("town", "gate", "main", site.journal, site.footage, site.model).as_seen(site.make_lane)
    assert (after.missing, after.extra) == ((), ())
    assert after.same == before.same > 0
    assert site.journal.open_epochs() == []


def _span(site: Recorded) -> tuple[int, int]:
    return site.clock.wall_us() - 3_600_000_000, site.clock.wall_us()


def test_what_was_damaged_in_the_store_is_left_out(
    site: Recorded, s3: S3, bucket: str, tmp_path: Path
) -> None:
    site.loaded = with_objects(site.loaded.path, section(s3, bucket))
    ship(site)
    rows = site.journal.segments()
    store = S3Objects(shipping.s3_place(site.loaded, os.environ))
    store.put(f"footage/{rows[1].path}", b"something else")
    store.delete(f"footage/{rows[2].path}")
    result = linli(
        "restore", site.loaded.path, "--camera", "gate", "--from", "2025-06-15T00:00:00Z",
        "--to", "2025-06-16T00:00:00Z", "--into", tmp_path / "other",
    )  # fmt: skip
    assert result.exit_code == 1
    assert f"left out {rows[1].path}: " in result.output
    assert "its papers have" in result.output
    assert f"left out {rows[2].path}: " in result.output
    found = {p.name for p in (tmp_path / "other" / "footage").rglob("*.mp4")}
    assert found == {Path(rows[0].path).name, Path(rows[3].path).name}


def test_list_and_get(site: Recorded, s3: S3, bucket: str, tmp_path: Path) -> None:
    site.loaded = with_objects(site.loaded.path, section(s3, bucket))
    ship(site)
    listed = linli("list", site.loaded.path, "footage/gate/").stdout.splitlines()
    assert len(listed) == 12
    key = next(line.split()[-1] for line in listed if line.endswith(".mp4"))
    fetched = linli("get", site.loaded.path, key, tmp_path / "out.mp4")
    assert "as it was put there" in fetched.stdout
    assert (tmp_path / "out.mp4").read_bytes() == (site.footage / key.removeprefix("footage/")).read_bytes()
    assert "--force" in linli("get", site.loaded.path, key, tmp_path / "out.mp4").output
    assert "has no footage/none" in linli("get", site.loaded.path, "footage/none", tmp_path / "x").output
    shown = linli("status", site.loaded.path)
    assert "done     4" in shown.stdout
    assert json.loads(linli("status", site.loaded.path, "--json").stdout)["waiting"] == 0


def test_a_trace_that_is_not_finished_is_waited_for(
    site: Recorded, s3: S3, bucket: str, tmp_path: Path
) -> None:
    site.loaded = with_objects(site.loaded.path, section(s3, bucket))
    ship(site)
    site.clock.advance(60)
    record(site, draw(tmp_path / "again.mp4", 6, visits((15, 40))), killed_at=38)
    rows = [row for row in site.journal.segments() if row.state != "open"]
    newest = max(rows, key=lambda row: row.start_us)
    spool = shipping.open_spool(site.loaded)
    assert isinstance(site.clock, ManualClock)
    for row in rows:  # as the worker would have said
        spool.add([item_of(row)])
    service = shipping.shipper(site.loaded, site.journal, spool, site.clock)
    for _ in range(100):
        site.clock.advance(service.step() or 0.01)
    store = S3Objects(shipping.s3_place(site.loaded, os.environ))
    assert store.stat(f"footage/{newest.path}") is None
    assert service.status().waiting == 1
    for _ in range(2000):
        site.clock.advance(service.step() or 0.01)
    assert store.stat(f"footage/{newest.path}") is not None, "nobody came to finish it"
    spool.close()


# --- held


def test_retention_holds_the_newest_of_what_waits(site: Recorded, s3: S3) -> None:
    rows = site.journal.segments()
    size = sum(row.bytes for row in rows[2:])
    loaded = with_objects(site.loaded.path, section(s3, "nowhere", f"hold_gb = {size / 1e9 + 1e-9:.9f}\n"))
    spool = shipping.open_spool(loaded)
    spool.add([item_of(row) for row in rows])
    now = site.clock.wall_us()
    held = shipping.holds(loaded, spool, now)
    assert sorted(held, key=lambda h: h.from_us) == [
        Hold("gate", row.start_us, row.end_us) for row in rows[2:]
    ]
    month = int(31 * 86_400e6)
    assert shipping.holds(loaded, spool, now + month) == [], "keep_days is a promise"
    none = with_objects(site.loaded.path, section(s3, "nowhere"))
    assert shipping.holds(none, spool, now) == []
    spool.close()


def test_the_disk_s_reserve_goes_before_what_waits(site: Recorded, s3: S3) -> None:
    loaded = with_objects(site.loaded.path, section(s3, "nowhere", "hold_gb = 1\n"))
    _, unsent = wiring._uploads(loaded, site.journal, site.clock)
    spool = shipping.open_spool(loaded)
    spool.add([item_of(row) for row in site.journal.segments()])
    assert len(unsent()) == 4
    text = loaded.path.read_text()
    loaded.path.write_text(text.replace("reserve_gb = 0", "reserve_gb = 1000000"))
    _, unsent = wiring._uploads(settings.load(loaded.path), site.journal, site.clock)
    assert unsent() == [], "a full disk would end the recording"
    spool.close()


def test_services_ship_where_the_site_says_so(site: Recorded, s3: S3, bucket: str) -> None:
    plain = wiring.services(site.loaded, site.clock)
    assert not any(type(service).__name__ == "Shipper" for service in plain)
    loaded = with_objects(site.loaded.path, section(s3, bucket))
    running = wiring.services(loaded, site.clock)
    assert any(type(service).__name__ == "Shipper" for service in running)


def test_over_tls(tmp_path: Path, site: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(S3(tmp_path / "tls", tls=True)) as tls:
        monkeypatch.setenv("STORE", f"{tls.access}:{tls.secret}")
        untrusted = with_objects(site.loaded.path, section(tls, "over-tls"))
        assert "[objects].ca" in linli("apply", untrusted.path).output
        (untrusted.path.parent / "ca.pem").write_bytes(tls.ca.read_bytes())
        trusted = with_objects(untrusted.path, section(tls, "over-tls", 'ca = "ca.pem"\nsse = "s3"\n'))
        assert linli("apply", trusted.path).exit_code == 0
        result = linli("check", trusted.path)
        assert (result.exit_code, states(result)["encryption"]) == (0, "ok")
        tls.remove()


def test_a_running_site_copies_what_it_records(
    tmp_path: Path, s3: S3, bucket: str, gst_server: GstServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an installer starts it, twice: what the first run recorded is in the store after the second."""
    monkeypatch.setenv("STORE", f"{s3.access}:{s3.secret}")
    path = site_file(tmp_path, {"gate": gst_server.url("plain")})
    loaded = with_objects(path, section(s3, bucket))
    store = S3Objects(shipping.s3_place(loaded, os.environ))
    footage = wiring.Paths(loaded.data).footage

    def recorded() -> list[SegmentRow]:
        journal = wiring.open_journal(loaded, SystemClock())
        try:
            return [row for row in journal.segments() if row.state != "open"]
        finally:
            journal.close()

    first = Site(path)
    try:
        until(recorded, 40, "a segment")
        first.end()
    finally:
        first.close()
    rows = recorded()
    second = Site(path)
    try:
        wanted = {papers_key(row.path) for row in rows}
        until(lambda: wanted <= set(store.keys("footage/")), 120, "the copies of the first run")
        assert not [e for e in second.events() if isinstance(e.data, Health) and e.data.what == "uploads"]
        second.end()
    finally:
        second.close()
    for row in rows:
        papers = read_papers(store.get(papers_key(row.path)) or b"", row.path)
        assert papers.row.sha256 == row.sha256
        for name in (row.path, row.trace_path):
            assert store.get(f"footage/{name}") == (footage / name).read_bytes()
