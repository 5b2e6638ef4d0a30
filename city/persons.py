"""Persons as a survey finds them: what makes a row right, and how little of it is shown.

Nobody here is recognised in a picture, and nothing here refers to one.
"""

import re
from datetime import date
from operator import mul
from typing import Literal

import msgspec

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECKS = "10X98765432"
"""GB 11643: the weighted sum of the first seventeen digits, modulo 11, chooses the eighteenth."""

_ZEROS = ord("0") * sum(WEIGHTS)

CareTag = Literal[
    "living-alone",
    "empty-nest",
    "aged-80",
    "left-behind-child",
    "left-behind-elder",
    "orphan",
    "disabled",
    "low-income",
    "chronic-illness",
    "bereaved",
]
CARE: dict[str, tuple[str, str]] = {
    "living-alone": ("old and living alone", "独居老人"),
    "empty-nest": ("old couple, children away", "空巢老人"),
    "aged-80": ("80 and over", "高龄老人"),
    "left-behind-child": ("left-behind child", "留守儿童"),
    "left-behind-elder": ("left-behind elder", "留守老人"),
    "orphan": ("child without parents", "困境儿童"),
    "disabled": ("disabled", "残疾人"),
    "low-income": ("low income", "低保户"),
    "chronic-illness": ("chronically ill", "大病慢病"),
    "bereaved": ("lost the only child", "失独家庭"),
}
"""Care tags, "one old, one young" (一老一小) first: code -> English, Chinese. From memory; a city's own list
may have more, these are the ones that are visited."""

Sex = Literal["female", "male", ""]
Relation = Literal["head", "spouse", "child", "parent", "other", ""]
_IDENTITY = re.compile(r"[0-9]{17}[0-9X]")
_OLD = re.compile(r"[0-9]{15}")
_PHONE = re.compile(r"\+?[0-9][0-9 -]{4,18}[0-9]")
_FIRST, _LAST = date(1850, 1, 1), date(2100, 12, 31)


class PersonDoc(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said of a person: all of it is encrypted under the person's own key."""

    name: str
    sex: Sex = ""
    born: str = ""
    """YYYY-MM-DD."""
    identity: str = ""
    """As given, if it is a number; also one with a wrong check digit is never here (it is quarantined)."""
    phone: str = ""
    nationality: str = ""
    workplace: str = ""
    registered: str = ""
    """Address of registration outside the city, in words."""
    relation: Relation = ""


class Masked(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a person who was not opened for a purpose."""

    name: str
    sex: str
    born: str
    """The year alone."""
    identity: str
    phone: str
    relation: str


def check_identity(number: str) -> str:
    """Why it cannot be an identity number after GB 11643; "" if it can.

    The division code is not looked at: many that were abolished are still in people's numbers.
    """
    if _OLD.fullmatch(number):
        return "an identity number of 15 digits is the old form; give the one of 18"
    if not _IDENTITY.fullmatch(number):
        return "an identity number has 17 digits and a check digit (0-9 or X)"
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return f"the identity number's date of birth {number[6:10]}-{number[10:12]}-{number[12:14]} is none"
    if not _FIRST <= born <= _LAST:
        return f"the identity number's year of birth {number[6:10]} cannot be"
    right = check_digit(number[:17])
    return "" if number[17] == right else f"the identity number's check digit is wrong (it should be {right})"


def check_digit(first: str) -> str:
    """Of the first seventeen digits, after GB 11643 (ISO 7064 MOD 11-2)."""
    return CHECKS[(sum(map(mul, first.encode(), WEIGHTS)) - _ZEROS) % 11]


def normal_identity(text: str) -> str:
    """Full-width digits, spaces and a small x as they are meant."""
    if text.isascii() and text.isdigit():
        return text
    return "".join(_WIDE.get(c, c) for c in text if not c.isspace()).upper()


_WIDE = {chr(0xFF10 + n): str(n) for n in range(10)} | {"Ｘ": "X", "ｘ": "X"}


def check_phone(phone: str) -> str:
    """Why it cannot be a telephone number; "" if it can."""
    return "" if _PHONE.fullmatch(phone) else "a telephone number has 6 to 20 digits"


def read_day(text: str) -> date | None:
    """A day as surveys write it: 2024-05-31, 2024/5/31, 20240531, 2024年5月31日; None: it is none."""
    if len(text) == 10 and text[4] == "-":
        try:
            return date.fromisoformat(text)
        except ValueError:
            return None
    parts = re.fullmatch(r"(\d{4})(?:[-/.年](\d{1,2})[-/.月](\d{1,2})日?|(\d{2})(\d{2}))(?: 00:00:00)?", text)
    if parts is None:
        return None
    year, month, day = parts[1], parts[2] or parts[4], parts[3] or parts[5]
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def mask(doc: PersonDoc) -> Masked:
    """A name's first character; a number's ends; the year of birth."""
    return Masked(
        name=mask_name(doc.name),
        sex=doc.sex,
        born=doc.born[:4],
        identity=_middle(doc.identity, 3, 2),
        phone=_middle(doc.phone, 3, 2),
        relation=doc.relation,
    )


def mask_name(name: str) -> str:
    """The first character, and a star for each other one, at most three."""
    return name[:1] + "*" * min(max(len(name) - 1, 1), 3) if name else ""


def _middle(text: str, head: int, tail: int) -> str:
    return (
        text[:head] + "*" * (len(text) - head - tail) + text[-tail:]
        if len(text) > head + tail
        else "*" * len(text)
    )
