"""Scenario packs: read from their files, checked, and what moves cases by them.

packs = shipped()                       # video, matter, appeal
packs["matter"] = load(Path("ours.toml"))
data = open_case(packs["matter"], Opening(category="0203", ...), now_us, calendar)
"""

from collections.abc import Mapping
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
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: {e}") from None
    found = problems(pack)
    if found:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in found))
    return msgspec.structs.replace(pack, digest=sha256(text).hexdigest())


def shipped() -> dict[str, Pack]:
    """The packs that come with Linli, by id."""
    return {name: load(SHIPPED / f"{name}.toml") for name in NAMES}


def chosen(paths: Mapping[str, Path]) -> dict[str, Pack]:
    """The shipped packs with those of a city: id -> file; a file takes the place of the pack of its id.

    Raises:
        ConfigError: as for `load`, or a file's id is not the one it is given for.
    """
    packs = shipped()
    for id, path in paths.items():
        pack = load(path)
        if pack.id != id:
            raise ConfigError(f"{path}: its id is {pack.id!r}, and it is given for {id!r}; make them one")
        packs[id] = pack
    return packs
