"""Scenario packs: read from their files, checked, and what moves cases by them.

packs = shipped()                       # video, matter, appeal
packs["matter"] = load(Path("ours.toml"))
data = open_case(packs["matter"], Opening(category="0203", ...), now_us, calendar)
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from city.packcheck import problems
from city.scenario import Action as Action
from city.scenario import Opening as Opening
from city.scenario import Pack as Pack
from city.scenario import State as State
from city.scenario import Step as Step
from city.steps import allowed as allowed
from city.steps import open_case as open_case
from city.steps import step as step
from events.errors import ConfigError

SHIPPED = Path(__file__).parent / "packs"
NAMES = ("video", "matter", "appeal")
"""The packs that come with Linli."""
_AT = re.compile(r"at `\$\.(\w+)(?:\[(\d+)\]|\.?([a-z0-9-]*))")
"""The place of what does not fit the types, as msgspec says it."""


def load(path: Path) -> Pack:
    """The pack of a file.

    Raises:
        ConfigError: it cannot be read, or what it says does not hang together; the text names the file, the
            place in it, and the mend.
    """
    try:
        text = path.read_bytes()
        pack = msgspec.toml.decode(text, type=Pack)
    except OSError as e:
        raise ConfigError(f"{path}: the pack cannot be read ({e.strerror})") from None
    except msgspec.ValidationError as e:
        at = _AT.search(str(e))
        line = _line(text.decode().splitlines(), at[1], int(at[2]) if at[2] else at[3] or "") if at else 1
        raise ConfigError(f"{path}:{line}: {e}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: {e}") from None
    if found := problems(pack):
        lines = text.decode().splitlines()
        raise ConfigError("\n".join(f"{path}:{_line(lines, p.part, p.at)}: {p.text}" for p in found))
    return msgspec.structs.replace(pack, digest=sha256(text).hexdigest())


def shipped() -> dict[str, Pack]:
    """The packs that come with Linli, by id."""
    return {name: load(SHIPPED / f"{name}.toml") for name in NAMES}


def chosen(names: Sequence[str], folder: Path) -> dict[str, Pack]:
    """The packs of a city, by id.

    Args:
        names: ids of shipped packs, or files relative to the folder; a file takes the place of the shipped
            pack of its id.

    Raises:
        ConfigError: as for `load`; or two of them have the same id.
    """
    packs: dict[str, Pack] = {}
    for name in names:
        file = SHIPPED / f"{name}.toml" if name in NAMES else folder / name
        if name not in NAMES and file.suffix != ".toml":
            raise ConfigError(f"{name!r} is no pack that ships ({', '.join(NAMES)}) and no .toml file")
        pack = load(file)
        if pack.id in packs:
            raise ConfigError(f"{file}: there is a pack of the id {pack.id!r} already; name one of them only")
        packs[pack.id] = pack
    return packs


def _line(lines: list[str], part: str, at: str | int) -> int:
    """The line in which a part of the file begins, as well as it can be found: 1 where it cannot."""
    if isinstance(at, int):
        heads = [number for number, line in enumerate(lines, 1) if line.strip() == f"[[{part}]]"]
        return heads[at] if at < len(heads) else 1
    inside = not part
    for number, line in enumerate(lines, 1):
        head = re.match(r"^\[+([^]]+)\]", line)
        if head:
            if at and head[1] == f"{part}.{at}":
                return number
            inside = head[1] == part
        elif inside and re.match(rf"^\s*{re.escape(at)}\s*=", line):
            return number
    return next((number for number, line in enumerate(lines, 1) if line.strip() == f"[{part}]"), 1)
