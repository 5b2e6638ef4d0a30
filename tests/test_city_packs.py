"""Packs: what is wrong with one is told with its line and the mend; a city's own takes the place of one that
ships; what people read of them is what they say."""

import re
from pathlib import Path

import pytest

from city import calendars, diagrams, packs
from city.cases import opened, stepped
from city.packcheck import edges
from city.packs import SHIPPED, Opening, Step, open_case, step
from docs import scenarios
from events.errors import ConfigError, IllegalTransition

MONDAY = 1_772_416_800_000_000

SMALL = """\
id = "matter"
title = "Potholes"
initial = "seen"
effects = []

[opening]
roles = ["channel", "system"]
start = ["fill"]

[states]
seen = { title = "Seen" }
filled = { title = "Filled", final = true }
waiting = { title = "Waiting", aside = true }

[clocks.fill]
title = "Filled"
kind = "working-hours"
amount = 4
on-overdue = "late"

[[actions]]
name = "fill"
title = "Fill"
from = ["seen"]
to = "filled"
roles = ["handler"]

[[actions]]
name = "wait"
title = "Wait for asphalt"
from = ["seen"]
to = "waiting"
roles = ["handler"]
stop = ["*"]

[[actions]]
name = "go-on"
title = "Go on"
from = ["waiting"]
to = "<"
roles = ["handler"]
resume = ["*"]

[[actions]]
name = "late"
title = "Late"
from = ["seen"]
to = "="
roles = ["system"]
tells = "overdue"

[layer]
id = "holes"
title = "Potholes"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "ours.toml"
    file.write_text(text)
    return file


def test_a_citys_own_pack_takes_the_place_of_one_that_ships(tmp_path: Path) -> None:
    written(tmp_path, SMALL)
    chosen = packs.chosen(["video", "ours.toml"], tmp_path)
    assert list(chosen) == ["video", "matter"]
    pack = chosen["matter"]
    calendar = calendars.shipped()
    data = open_case(pack, Opening(category="hole", role="channel", who="app"), MONDAY, calendar)
    assert (data.scenario, data.state, data.pack) == ("matter", "seen", pack.digest)
    case = opened("case-1", MONDAY, data)
    with pytest.raises(IllegalTransition, match="no action 'accept'; there are fill, wait, go-on, late"):
        step(pack, case, Step(action="accept", role="clerk", who="c"), MONDAY, calendar)
    case = stepped(
        case, 1, MONDAY, step(pack, case, Step(action="fill", role="handler", who="h"), MONDAY, calendar)
    )
    assert (case.state, case.final) == ("filled", True)


def test_two_packs_of_one_id_and_names_that_are_none(tmp_path: Path) -> None:
    written(tmp_path, SMALL)
    with pytest.raises(ConfigError, match="'matter' already"):
        packs.chosen(["matter", "ours.toml"], tmp_path)
    with pytest.raises(ConfigError, match="video, matter, appeal"):
        packs.chosen(["metter"], tmp_path)
    with pytest.raises(ConfigError, match=r"nowhere\.toml: the pack cannot be read"):
        packs.chosen(["nowhere.toml"], tmp_path)


FILL = 'from = ["seen"]\nto = "filled"\nroles = ["handler"]'
MISTAKES = [
    # What is written instead of what, the line that is named, and what is said.
    ('initial = "seen"', 'initial = "lost"', 3, "'lost' is no state; one of seen, filled, waiting"),
    ('to = "filled"', 'to = "full"', 21, "action fill: to 'full' is no state"),
    ('from = ["seen"]\nto = "filled"', 'from = ["sean"]\nto = "filled"', 21, "from 'sean' is no state"),
    (FILL, FILL.replace("handler", "hendler"), 21, "'hendler' is no role; one of viewer"),
    (FILL, FILL + '\nmeet = ["fil"]', 21, "meet 'fil' is no clock; one of fill"),
    (FILL, FILL + '\nguards = ["nobody"]', 21, "'nobody' is no guard"),
    (FILL, FILL + '\neffects = ["fireworks"]', 21, "'fireworks' is not among the pack's `effects`"),
    (FILL, FILL + '\nneeds = ["patience"]', 21, "patience"),
    (FILL, FILL + '\nneeds = ["amount"]', 21, "belong together"),
    (FILL, FILL + '\nholder = "set"', 21, 'needs "holder"'),
    (FILL, FILL + '\nneeds = ["marks"]', 21, "`choose` has none"),
    (FILL, FILL + '\nmark-needs = { gone = ["note"] }', 21, "not in `choose`"),
    (FILL, FILL + '\nlevel = "any"', 21, 'needs "level"'),
    ('name = "wait"', 'name = "fill"', 28, "is there twice"),
    ('to = "<"', 'to = "seen"', 13, "no action goes back from the aside waiting"),
    ('from = ["waiting"]\nto = "<"', 'from = ["seen"]\nto = "<"', 36, "no aside"),
    ("final = true", "final = false", 1, "no state is final"),
    ("waiting = {", 'shut = { title = "Shut" }\nwaiting = {', 13, "nothing leads to shut"),
    ('roles = ["channel", "system"]', 'roles = ["channell"]', 7, "'channell' is no role"),
    ("amount = 4", "amount = -4", 15, "amount must be"),
    ('kind = "working-hours"\namount = 4', 'kind = "working-days"\namount = 0.5', 15, "counted whole"),
    ("amount = 4", "amount = 0", 15, "say how long it is"),
    ("amount = 4", "amount = 4\nwarn = 1", 15, "`warn` without `on-warn`"),
    ('on-overdue = "late"', "", 15, "needs `on-overdue`"),
    ('on-overdue = "late"', 'on-overdue = "fill"', 15, "needs `tells = 'overdue'`"),
    ('start = ["fill"]', "", 15, "nothing starts fill"),
    (
        'to = "waiting"\nroles = ["handler"]\nstop = ["*"]',
        'to = "waiting"\nroles = ["handler"]',
        15,
        "may run out",
    ),
    ("[layer]", '[[deadlines]]\nclock = "fill"\namount = 1\nseverity = "bad"\n[layer]', 52, "info, minor"),
    ("[layer]", '[[triggers]]\nevent = "linli.alert.made.v1"\n[layer]', 52, "no such events"),
    (
        "[layer]",
        '[[triggers]]\nevent = "linli.alert.raised.v1"\ntitle = "{what}"\n[layer]',
        52,
        "'what' is no",
    ),
    (
        "[layer]",
        '[[triggers]]\nevent = "linli.alert.cleared.v1"\nthen = "fill"\n[layer]',
        52,
        "role system may take",
    ),
    (
        "[layer]",
        '[[indicators]]\nid = "x"\ntitle = ""\ncount = ["sovled"]\n[layer]',
        52,
        "'sovled' is no fact",
    ),
    (
        "[layer]",
        '[[counted]]\nactions = ["dig"]\ncount = 3\nclock = "fill"\n[layer]',
        52,
        "'dig' is no action",
    ),
]


@pytest.mark.parametrize(("was", "now", "line", "says"), MISTAKES)
def test_a_mistake_is_told_with_its_line_and_the_mend(
    tmp_path: Path, was: str, now: str, line: int, says: str
) -> None:
    assert was in SMALL
    file = written(tmp_path, SMALL.replace(was, now, 1))
    with pytest.raises(ConfigError) as caught:
        packs.load(file)
    told = str(caught.value)
    assert says in told
    assert f"{file}:{line}: " in told, told


def test_a_dead_end(tmp_path: Path) -> None:
    text = SMALL.replace('to = "<"', 'to = "lost"').replace(
        "waiting = {", 'lost = { title = "Lost" }\nwaiting = {'
    )
    with pytest.raises(ConfigError, match=r"toml:13: lost is a dead end; give it an action towards filled"):
        packs.load(written(tmp_path, text))


def test_an_aside_within_an_aside(tmp_path: Path) -> None:
    text = SMALL.replace("waiting = {", 'asked = { title = "Asked", aside = true }\nwaiting = {')
    ask = ("ask", "waiting", "asked")
    for name, before, to in (ask, ("tell", "asked", "<")):
        row = f'name = "{name}"\ntitle = ""\nfrom = ["{before}"]\nto = "{to}"\nroles = ["clerk"]'
        text = text.replace("[layer]", f"[[actions]]\n{row}\n\n[layer]")
    with pytest.raises(ConfigError, match="the way back is lost"):
        packs.load(written(tmp_path, text))


def test_what_is_no_toml_or_no_pack(tmp_path: Path) -> None:
    for text, says in (
        ("id = ", "Invalid value"),
        ("surprise = 1\n" + SMALL, "surprise"),
        (b"\xff\xfe", "decode"),
    ):
        file = tmp_path / "ours.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigError, match=says):
            packs.load(file)


def test_those_that_ship_say_where_their_figures_are_from() -> None:
    for pack in packs.shipped().values():
        for part in (*pack.clocks.values(), *pack.deadlines, *pack.counted):
            assert part.source, (pack.id, part)
        for named in (*pack.states.values(), *pack.actions, *pack.clocks.values(), *pack.indicators):
            assert named.title
            assert named.title_zh


def test_the_diagram_has_every_way_of_the_table() -> None:
    for pack in packs.shipped().values():
        drawn = {
            (before.replace("_", "-"), name, after.replace("_", "-"))
            for before, after, names in re.findall(
                r"^    (\w+) --> (\w+): (.+)$", diagrams.mermaid(pack), re.M
            )
            for name in names.split(", ")
        }
        ways = {(a, action.name, b) for a, action, b in edges(pack) if a != b}
        assert ways <= drawn
        assert {(a, b) for a, _, b in drawn - ways} <= {(s, s) for s in pack.states}


def test_the_page_is_what_the_packs_say() -> None:
    page = scenarios.PAGE.read_text()
    assert scenarios.text(page) == page, "run python -m docs.scenarios"


def test_the_three_that_ship_are_files_that_can_be_copied(tmp_path: Path) -> None:
    for name in packs.NAMES:
        copy = tmp_path / f"{name}.toml"
        copy.write_bytes((SHIPPED / f"{name}.toml").read_bytes())
    assert packs.chosen([f"{name}.toml" for name in packs.NAMES], tmp_path) == packs.shipped()
