"""The rules of ratings from their file."""

from pathlib import Path

import msgspec

from city.closure import FACTS
from city.ratings import RatingRules
from events.errors import ConfigError

SHIPPED = Path(__file__).parent / "data" / "ratings.toml"


def load(path: Path) -> RatingRules:
    """The rules of a file.

    Raises:
        ConfigError: it cannot be read, or says something that cannot be; the text names file and entry.
    """
    try:
        rules = msgspec.toml.decode(path.read_bytes(), type=RatingRules)
    except OSError as e:
        raise ConfigError(f"{path}: the rules of ratings cannot be read ({e.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: {e}") from None
    if problem := _problem(rules):
        raise ConfigError(f"{path}: {problem}")
    return rules


def shipped() -> RatingRules:
    """The rules that come with Linli."""
    return load(SHIPPED)


def _problem(rules: RatingRules) -> str:
    if len(rules.colours) < 2:
        return "[[colours]]: there must be two or more, the best one first"
    steps = [colour.at_least for colour in rules.colours[:-1]]
    if steps != sorted(set(steps), reverse=True):
        return "[[colours]]: at-least must fall from the best colour to the worst"
    if min(rules.small, rules.households) <= 0 or rules.merit_at_most < 0:
        return "households and small must be above 0, merit-at-most not below"
    ids = [c.id for c in rules.colours] + [r.id for r in rules.rules] + [c.id for c in rules.categories]
    if len(ids) != len(set(ids)):
        twice = next(id for id in ids if ids.count(id) > 1)
        return f"the id {twice!r} is there twice; give each colour, rule and category its own"
    for rule in rules.rules:
        if not rule.facts or not rule.points or rule.days <= 0:
            return f"[[rules]] {rule.id}: needs facts, points other than 0, and days above 0"
        marks = [name for fact in rule.facts for name in fact.removeprefix("!").split("|")]
        if not all(name in FACTS or name.replace("-", "").replace(":", "").isalnum() for name in marks):
            return f"[[rules]] {rule.id}: facts are of {', '.join(FACTS)}, marks of the pack, or state:NAME"
    for category in rules.categories:
        if category.least > category.most or category.days <= 0:
            return f"[[categories]] {category.id}: least must not be above most, and days above 0"
    return ""
