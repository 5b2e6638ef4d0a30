"""The dashboards, alert rules and scrape examples in deploy/, by the tools that will read them.

Every panel's query is put to a real Prometheus that has scraped a running console and a status server.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard, prometheus

from console.access import Grant, PrivacySettings
from console.statusserver import StatusServer
from events.clock import SystemClock
from events.events import Health, Reading, sensor_source
from pipeline.figures import RunFigures
from pipeline.projecting import ProjectorFigures
from storage.journal import Journal
from testbed.prometheus import Prometheus
from testbed.rtsp import ServerMissing
from tests.conftest import need_server
from tests.console_stage import OFFICE_TOKEN, Stage
from tests.statuses import write_statuses

DEPLOY = Path(__file__).parents[1] / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RULES = DEPLOY / "prometheus" / "rules" / "linli.yml"
PAGE = Path(__file__).parents[1] / "docs" / "observe.md"
METRIC = re.compile(r"\blinli_[a-z0-9_]+\b")
SUFFIX = re.compile(r"_(bucket|sum|count)$")

SCRAPED = PrivacySettings(grant=(Grant(who="prometheus", token_env="OFFICE", rights=("metrics", "alerts")),))


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    """Dashboard and panel, and the expression."""
    return [
        (f"{path.stem}: {panel['title']}", target["expr"])
        for path in DASHBOARDS
        for panel in panels(path)
        for target in panel["targets"]
    ]


def filled(expression: str) -> str:
    """As Grafana asks it with everything chosen."""
    expression = expression.replace("$__rate_interval", "20s")
    return re.sub(r"\$(instance|camera|topic)\b", ".*", expression)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, set[str]]]:
    """Prometheus with some seconds of a box and of a centre that are at work, and the names it was told."""
    folder = tmp_path_factory.mktemp("scraped")
    run = folder / "run"
    run.mkdir()
    write_statuses(run)
    clock = SystemClock()
    journal = Journal(folder / "journal.db", clock)  # the figures' own view of the file that the stage writes
    projector = ProjectorFigures(lambda: {"linli.alert": 3, "linli.count": 0})
    centre = StatusServer("127.0.0.1", 0, [projector], [])
    figures = (RunFigures(run, journal, clock),)
    with Stage(folder, SCRAPED, figures=figures) as stage:
        stage.happens(Health(what="covered", state="raised", message="something hangs before it"))
        stage.happens(
            Reading(quantity="level", value=1.5, unit="m", received_us=clock.wall_us()),
            source=sensor_source("demo", "manhole-7"),
        )
        stage.settled()
        centre.start()
        projector.holds(12)
        jobs = {
            "linli-edge": (stage.url.removeprefix("http://"), OFFICE_TOKEN),
            "linli-serve": (centre.url.removeprefix("http://"), ""),
        }
        try:
            try:
                server = Prometheus(folder / "prometheus", jobs, (RULES,))
            except ServerMissing as error:
                need_server(error)
                raise
            with server:
                for _ in range(60):
                    write_statuses(run)
                    projector.wrote("linli.alert", 5, 0.02, clock.wall_us())
                    projector.dead_letter("linli.alert", "unreadable")
                    if _scrapes(server) >= 4:
                        break
                    time.sleep(0.5)
                yield server, _names(stage, centre)
        finally:
            centre.stop()
            journal.close()


def _scrapes(server: Prometheus) -> int:
    found = server.query('min(count_over_time(up{job=~"linli-.+"}[1m]))')
    return int(found[0]["value"][1]) if found else 0


def _names(stage: Stage, centre: StatusServer) -> set[str]:
    with stage.client(OFFICE_TOKEN) as client:
        text = client.get("/metrics").text + httpx.get(centre.url + "/metrics").text
    return set(re.findall(r"^# TYPE (linli_\S+) ", text, re.M))


def test_both_were_scraped(scraped: tuple[Prometheus, set[str]]) -> None:
    up = {one["metric"]["job"]: one["value"][1] for one in scraped[0].query("up")}
    assert up == {"linli-edge": "1", "linli-serve": "1"}


@pytest.mark.parametrize(("where", "expression"), queries())
def test_every_query_has_an_answer(scraped: tuple[Prometheus, set[str]], where: str, expression: str) -> None:
    result = scraped[0].query(filled(expression))
    assert result, f"{where}: {expression} finds nothing"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_variable_has_values(scraped: tuple[Prometheus, set[str]], path: Path) -> None:
    for variable in json.loads(path.read_text())["templating"]["list"]:
        if variable["type"] != "query":
            continue
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert match
        found = scraped[0].ask("series", **{"match[]": filled(match[1])})
        assert {one[match[2]] for one in found}, variable["name"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_grafana_s_own_models_read_a_dashboard(path: Path) -> None:
    """Nothing that is written there is unknown to them."""
    register_default_plugins()
    written = json.loads(path.read_text())
    model = dashboard.Dashboard.from_json(written)
    again = json.loads(JSONEncoder().encode(model))
    assert not list(_lost(written, again, ""))
    assert model.panels
    for panel in model.panels:
        if isinstance(panel, dashboard.Panel):
            assert panel.targets
            assert all(isinstance(target, prometheus.Dataquery) for target in panel.targets)


def _lost(written: Any, again: Any, place: str) -> Iterator[str]:
    if isinstance(written, dict):
        for key, value in written.items():
            if key == "definition" and place.startswith(".templating"):
                continue  # Grafana writes it beside `query`; its models have no place for it
            if key not in again:
                yield f"{place}.{key}"
            else:
                yield from _lost(value, again[key], f"{place}.{key}")
    elif isinstance(written, list):
        for n, (one, other) in enumerate(zip(written, again, strict=True)):
            yield from _lost(one, other, f"{place}[{n}]")
    elif written != again:
        yield f"{place}: {written!r} became {again!r}"


def test_dashboards_are_told_apart_and_name_their_source() -> None:
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert {board["uid"] for board in boards} == {"linli-box", "linli-city", "linli-cameras"}
    for board in boards:
        first = board["templating"]["list"][0]
        assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        cells: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            if panel["type"] != "row":
                assert panel["datasource"]["uid"] == "${datasource}"
                assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
            at = panel["gridPos"]
            own = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not own & cells, f"{board['uid']}: {panel['title']} lies on another"
            assert all(x < 24 for x, _ in own)
            cells |= own


def test_provisioning_names_what_is_there() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    sources = [yaml.safe_load(path.read_text()) for path in folder.glob("datasources/*.y*ml")]
    providers = [yaml.safe_load(path.read_text()) for path in folder.glob("dashboards/*.y*ml")]
    assert [one["type"] for file in sources for one in file["datasources"]] == ["prometheus"]
    assert [one["type"] for file in providers for one in file["providers"]] == ["file"]
    assert all(file["apiVersion"] == 1 for file in [*sources, *providers])


def promtool(*arguments: str) -> str:
    """What it says. It belongs to Prometheus."""
    try:
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        need_server(ServerMissing(f"there is no `promtool`: {error}"))
        raise
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_rules_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(DEPLOY / "prometheus" / "tests.yml"))


def test_the_examples_are_sound() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))
    promtool("check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yml"))


def test_each_alert_is_tested_and_says_the_mend() -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    tested = (DEPLOY / "prometheus" / "tests.yml").read_text()
    for rule in rules:
        assert rule["alert"] in tested
        assert rule["annotations"].keys() == {"summary", "mend"}
        assert rule["labels"]["severity"] in ("critical", "major", "minor")


def test_the_rules_hold_in_a_real_server(scraped: tuple[Prometheus, set[str]]) -> None:
    """Evaluated against real figures without an error."""
    for _ in range(40):
        rules = scraped[0].ask("rules")["groups"][0]["rules"]
        if all(rule["health"] != "unknown" for rule in rules):
            break
        time.sleep(0.25)
    assert {rule["health"] for rule in rules} == {"ok"}, [rule.get("lastError") for rule in rules]


def plain(names: set[str]) -> set[str]:
    """Without what a histogram adds."""
    return {SUFFIX.sub("", name) for name in names}


def test_dashboards_and_rules_use_what_there_is(scraped: tuple[Prometheus, set[str]]) -> None:
    used = {name for _, expression in queries() for name in METRIC.findall(expression)}
    used |= {
        name
        for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
        for name in METRIC.findall(rule["expr"])
    }
    assert plain(used) <= scraped[1]


def test_the_page_lists_each_metric(scraped: tuple[Prometheus, set[str]]) -> None:
    """Each that exists is in docs/observe.md, and each there exists."""
    listed = set(METRIC.findall(PAGE.read_text()))
    assert listed - scraped[1] == set()
    assert scraped[1] - listed == set()
