"""`linli cases`: what is to be done, what happened to a case, and a step of one, at the shell.

Whoever has the site's files can do it: a step is signed by the name that is given. Nothing here shows a
person's words.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
import msgspec

from city.cases import Case
from city.rights import WHOLE, Actor, Role
from city.scenario import Step
from cli import settings as site_settings
from cli import wiring
from events.civic import CaseOpened, CaseStepped
from events.clock import SystemClock
from events.errors import NoSuchThing
from events.media import rfc3339

if TYPE_CHECKING:
    from cli.cityhall import Hall

SITE = click.argument("site", type=click.Path(path_type=Path, dir_okay=False))
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group()
def cases() -> None:
    """Cases of the city's scenarios: alerts, matters, appeals."""


@cases.command("list")
@SITE
@click.option("--scenario", default="", help="Of this scenario: video, matter, appeal ...")
@click.option("--area", default="", help="In the jurisdiction whose code begins so.")
@click.option("--state", default="", help="In this state.")
@click.option("--holder", default="", help="Held by this organisation, or helped by it.")
@click.option("--overdue", is_flag=True, help="With a clock that has run out.")
@click.option("--all", "closed", is_flag=True, help="Closed ones, too.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@JSON
def list_cases(  # noqa: PLR0913 - one for each option
    site: Path,
    scenario: str,
    area: str,
    state: str,
    holder: str,
    overdue: bool,
    closed: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Open cases, what is due first first."""
    with _hall(site) as (hall, now):
        from storage.city.casequery import CaseQuery

        query = CaseQuery(
            scenario=scenario,
            area=area,
            state=state,
            holder=holder,
            open=None if closed else True,
            overdue_at_us=now if overdue else 0,
            order="due" if overdue else "opened",
        )
        for case in hall.store.cases.page(query, limit=limit).cases:
            click.echo(msgspec.json.encode(case).decode() if as_json else _line(case, now))


@cases.command()
@SITE
@click.argument("case")
@JSON
def show(site: Path, case: str, as_json: bool) -> None:
    """A case and all its steps, each with who signed it."""
    with _hall(site) as (hall, now):
        known = _case(hall, case)
        if not as_json:
            click.echo(_line(known, now))
        for step in hall.store.cases.steps(case):
            if as_json:
                click.echo(msgspec.json.encode(step).decode())
            else:
                click.echo(f"{step.version:4d}  {rfc3339(step.time_us)[:19]}Z  {_said(step.data)}")


@cases.command()
@SITE
@click.argument("case")
@click.argument("action")
@click.option("--who", required=True, help="Who signs.")
@click.option("--role", required=True, type=click.Choice(get_args(Role)))
@click.option("--org", default="", help="The organisation that they act for.")
@click.option("--note", default="", help="In official words; nothing about persons.")
@click.option("--holder", default="", help="The organisation that has to act from now on.")
@click.option("--approver", default="", help="Who approved it.")
@click.option("--other", default="", help="The other case.")
@click.option("--amount", default=0.0, help="How much longer, in the clock's unit.")
@click.option("--mark", "marks", multiple=True, help="true, solved ...; may be given again.")
def step(site: Path, case: str, action: str, who: str, role: str, org: str, **values: object) -> None:
    """Take a step: ACTION is a name of the scenario's pack."""
    with _hall(site) as (hall, _):
        from desk.cases import CaseDesk

        loaded = site_settings.load(site)
        parts = hall.journal, hall.store, hall.packs, SystemClock(), loaded.file.site.id, hall.calendar
        known = _case(hall, case)
        taken = msgspec.convert({"action": action, **values}, Step)
        actor = Actor(who, role, WHOLE, org)
        after = CaseDesk(*parts, words=hall.words).step(case, known.version, taken, actor)
        click.echo(_line(after, SystemClock().wall_us()))


@cases.command()
@SITE
@click.argument("case")
@click.option("--reason", required=True, type=click.Choice(("asked", "mistake")))
@click.option("--who", required=True, help="Who decided it.")
@click.confirmation_option(
    prompt="What a citizen said in this case cannot be read by anybody afterwards. Go on?"
)
def erase(site: Path, case: str, reason: str, who: str) -> None:
    """Destroy the key of a person's words in a case. The case itself stays."""
    with _hall(site) as (hall, _):
        from desk.caseretention import CaseKeeper, CaseRetention

        loaded = site_settings.load(site)
        _case(hall, case)
        parts = hall.journal, hall.store, hall.objects, hall.vault, SystemClock(), loaded.file.site.id
        done = CaseKeeper(*parts, CaseRetention()).erase(case, reason, who)  # type: ignore[arg-type]
        click.echo(f"{case}: {'erased' if done else 'was erased before'}")


@contextmanager
def _hall(site: Path) -> Iterator[tuple["Hall", int]]:
    """The desk's parts, and the time."""
    with wiring.city("linli cases"):
        from cli import cityhall
    clock = SystemClock()
    hall = cityhall.opened(site_settings.load(site), clock)
    try:
        yield hall, clock.wall_us()
    finally:
        hall.close()


def _case(hall: "Hall", id: str) -> Case:
    case = hall.store.cases.case(id)
    if case is None:
        raise NoSuchThing(f"there is no case {id[:40]!r}; `linli cases list` shows those that are open")
    return case


def _line(case: Case, now_us: int) -> str:
    due = ""
    if case.due_us and not case.final:
        due = f"  {'OVERDUE since' if case.due_us <= now_us else 'due'} {rfc3339(case.due_us)[:16]}Z"
    place = case.area or "not placed"
    held = f"  {case.holder}" if case.holder else ""
    return f"{case.case}  {case.scenario} {case.state}  {case.level} {place}{held}  {case.title}{due}"


def _said(data: CaseOpened | CaseStepped) -> str:
    if isinstance(data, CaseOpened):
        return f"opened by {data.who} ({data.role}): {data.title}"
    moved = f"{data.was} -> {data.state}" if data.was != data.state else data.state
    approved = f", approved by {data.approver}" if data.approver else ""
    clock = f" [{data.detail['clock']}]" if "clock" in data.detail else ""
    return f"{data.action}{clock} by {data.who} ({data.role}){approved}: {moved}  {data.note}".rstrip()


COMMANDS = (cases,)
