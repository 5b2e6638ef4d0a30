"""Rows of a survey become entries of the registers, or are rejected with the reason and the mend."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from city.housing import FOREVER, OUTSIDE, As, Fact, Home
from city.persons import CARE, PersonDoc, check_identity, check_phone, normal_identity, read_day

PERSON_FIELDS: Mapping[str, tuple[str, ...]] = {
    "person": ("person", "id", "人员编号", "编号", "序号"),
    "name": ("name", "姓名"),
    "sex": ("sex", "gender", "性别"),
    "born": ("born", "birthday", "出生日期"),
    "identity": ("identity", "id_number", "身份证号", "身份证号码", "公民身份号码", "证件号码"),
    "phone": ("phone", "mobile", "电话", "联系电话", "手机号"),
    "nationality": ("nationality", "国籍"),
    "workplace": ("workplace", "工作单位", "从业单位"),
    "household": ("household", "户号", "户编号"),
    "household_kind": ("household_kind", "户别"),
    "relation": ("relation", "与户主关系"),
    "home": ("home", "房屋编号", "房屋编码", "现住房屋编号"),
    "since": ("since", "入住日期", "居住起始日期"),
    "registration": ("registration", "户籍房屋编号", "户籍地"),
    "registered_since": ("registered_since", "户籍登记日期"),
    "tenure": ("tenure", "居住性质", "房屋关系"),
    "care": ("care", "关爱标签", "重点关爱"),
}
HOME_FIELDS: Mapping[str, tuple[str, ...]] = {
    "home": ("home", "房屋编号", "房屋编码"),
    "building": ("building", "楼栋编号", "建筑编号", "楼栋编码"),
    "area": ("area", "grid", "网格编码", "所属网格"),
    "unit": ("stair", "unit", "单元"),
    "room": ("room", "室号", "房号"),
    "address": ("address", "地址", "详细地址"),
    "use": ("use", "用途", "房屋用途"),
    "area_m2": ("area_m2", "建筑面积", "面积"),
}
"""Field -> headings that mean it where the mapping says nothing, the first that is there."""

_SEX = {"": "", "男": "male", "女": "female", "male": "male", "female": "female", "m": "male", "f": "female",
        "1": "male", "2": "female"}  # fmt: skip
_RELATION = {"户主": "head", "本人": "head", "配偶": "spouse", "子": "child", "女": "child", "子女": "child",
             "父母": "parent", "head": "head", "spouse": "spouse", "child": "child", "parent": "parent",
             "": ""}  # fmt: skip
_TENURE: dict[str, As] = {"": "", "owner": "owner", "自有": "owner", "产权人": "owner", "自住": "owner",
                          "tenant": "tenant", "租住": "tenant", "承租人": "tenant",
                          "租赁": "tenant"}  # fmt: skip
_KINDS: dict[str, As] = {"": "family", "family": "family", "家庭户": "family", "collective": "collective",
                         "集体户": "collective"}  # fmt: skip
_OUTSIDE = (OUTSIDE, "外地", "市外", "外省", "外市")
_CARE = {zh: code for code, (_, zh) in CARE.items()} | {code: code for code in CARE}
_UNKNOWN_SINCE = "1900-01-01"
"""From when on, where the survey does not say."""
LONGEST = 200


class Refusal(Exception):
    """Why a row is not taken."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field
        self.why = why


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A person of a row, whole but for the reference and the seal."""

    own: str
    """The survey's own number of the person."""
    doc: PersonDoc
    facts: tuple[Fact, ...]
    care: tuple[str, ...]


def columns(
    names: list[str], fields: Mapping[str, tuple[str, ...]], mapping: Mapping[str, str]
) -> dict[str, str]:
    """Which heading each field is under: as the mapping says, else by its usual names.

    Raises:
        Refusal: the mapping names a field or heading that is not there.
    """
    lower = {name.lower(): name for name in names}
    found: dict[str, str] = {}
    for field, heading in mapping.items():
        if field not in fields:
            raise Refusal(field, f"the mapping names a field {field!r}; there are {', '.join(fields)}")
        if heading not in names:
            raise Refusal(heading, f"the mapping names a heading {heading!r}, which the file has not")
        found[field] = heading
    for field, usual in fields.items():
        name = next((lower[n] for n in usual if n in lower), "")
        if field not in found and name:
            found[field] = name
    return found


def person(get: Callable[[str], str]) -> Draft:
    """The person of a row. `get` answers a field's text, "" where the row has none.

    Raises:
        Refusal: names the field, what is wrong and the mend.
    """
    identity = normal_identity(get("identity"))
    if identity and (why := check_identity(identity)):
        raise Refusal("identity", why)
    own = get("person")
    if not identity and not own:
        raise Refusal("identity", "neither an identity number nor a number of the survey's own (`person`)")
    name = get("name")
    if not name or len(name) > LONGEST:
        raise Refusal("name", "the name is missing" if not name else "the name is too long")
    phone = get("phone")
    if phone and (why := check_phone(phone)):
        raise Refusal("phone", why)
    born = _born(get("born"), identity)
    sex = _SEX.get(get("sex").lower())
    if sex is None:
        raise Refusal("sex", f"{get('sex')[:20]!r} is no sex: write female or male (女, 男)")
    if identity and sex and (int(identity[16]) % 2 == 1) != (sex == "male"):
        raise Refusal("sex", "the sex is another one than the identity number says")
    doc = PersonDoc(
        name=name,
        sex=sex or ("" if not identity else "male" if int(identity[16]) % 2 else "female"),  # type: ignore[arg-type]
        born=born,
        identity=identity,
        phone=phone,
        nationality=get("nationality")[:LONGEST],
        workplace=get("workplace")[:LONGEST],
        relation=_RELATION.get(get("relation"), "other"),  # type: ignore[arg-type]
    )
    return Draft(own, doc, _facts(get, born), _tags(get("care")))


def flaw(doc: PersonDoc, today: str) -> tuple[str, str]:
    """Which field of what is said of a person cannot be, and why; ("", ""): all can.

    Args:
        today: YYYY-MM-DD; nobody is born later.
    """
    for field in doc.__struct_fields__:
        value = getattr(doc, field)
        if len(value) > LONGEST or not value.replace(" ", "").isprintable():
            return field, f"{field} is too long, or has characters that cannot be printed"
    if not doc.name.strip():
        return "name", "the name is missing"
    if doc.identity and (why := check_identity(doc.identity)):
        return "identity", why
    if doc.phone and (why := check_phone(doc.phone)):
        return "phone", why
    if doc.born:
        day = read_day(doc.born)
        if day is None or day.isoformat() != doc.born:
            return "born", f"{doc.born[:20]!r} is no day; write 1990-05-31"
        if doc.identity and doc.identity[6:14] != doc.born.replace("-", ""):
            return "born", "the date of birth is another one than the identity number says"
        if doc.born > today:
            return "born", f"born on {doc.born}, which is still to come"
    return "", ""


def home(get: Callable[[str], str], area_of: Callable[[str], str]) -> Home:
    """The home of a row. `area_of`: a building's jurisdiction by the map, "" for an unknown building.

    Raises:
        Refusal: as `person`.
    """
    code, building = get("home"), get("building")
    if not code or len(code) > 80 or not code.isascii() or not code.isprintable() or " " in code:
        raise Refusal("home", "a home needs a code: letters, digits and signs without spaces, at most 80")
    if not building:
        raise Refusal("building", "the building's code is missing")
    area = area_of(building)
    if not area:
        raise Refusal("building", f"the map has no building {building[:60]!r}; import the buildings first")
    given = get("area")
    if given and not area.startswith(given) and not given.startswith(area):
        raise Refusal("area", f"the building lies in {area}, not in {given[:60]}")
    return Home(
        home=code,
        building=building,
        area=area,
        unit=get("unit")[:40],
        room=get("room")[:40],
        address=get("address")[:LONGEST],
        use=get("use")[:40] or "residential",
        area_m2=_number(get("area_m2")),
    )


def _number(text: str) -> float:
    if not text:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e6:
        raise Refusal("area_m2", f"{text[:20]!r} is no floor area in square metres")
    return value


def _born(text: str, identity: str) -> str:
    if identity:
        born = f"{identity[6:10]}-{identity[10:12]}-{identity[12:14]}"
        if text and (day := read_day(text)) is not None and day.isoformat() != born:
            raise Refusal("born", f"the date of birth is another one than the identity number says ({born})")
        if not text:
            return born
    if not text:
        return ""
    day = read_day(text)
    if day is None:
        raise Refusal("born", f"{text[:20]!r} is no day; write 1990-05-31")
    return day.isoformat()


def _facts(get: Callable[[str], str], born: str) -> tuple[Fact, ...]:
    since = _day(get("since"), "since") or _UNKNOWN_SINCE
    home, facts = get("home"), []
    kind = _KINDS.get(get("household_kind"))
    if kind is None:
        raise Refusal(
            "household_kind", f"{get('household_kind')[:20]!r}: write family or collective (家庭户, 集体户)"
        )
    if born and since != _UNKNOWN_SINCE and since < born:
        raise Refusal("since", f"lives there since {since}, before the date of birth")
    if home:
        facts.append(
            Fact(kind="residence", home=home, since=since, as_=kind, household=get("household")[:80])
        )
    registration = get("registration")
    if registration:
        at = OUTSIDE if registration in _OUTSIDE else registration
        day = _day(get("registered_since"), "registered_since") or _UNKNOWN_SINCE
        facts.append(Fact(kind="registration", home=at, since=day))
    tenure = _TENURE.get(get("tenure"))
    if tenure is None:
        raise Refusal("tenure", f"{get('tenure')[:20]!r} is no tenure: write owner or tenant (自有, 租住)")
    if tenure and home:
        facts.append(Fact(kind="tenure", home=home, since=since, as_=tenure))
    if not facts:
        raise Refusal("home", "neither a home where the person lives nor a registration")
    return tuple(facts)


@lru_cache(maxsize=1 << 16)  # a survey says the same days again and again
def _day(text: str, field: str) -> str:
    if not text:
        return ""
    day = read_day(text)
    if day is None:
        raise Refusal(field, f"{text[:20]!r} is no day; write 2024-05-31")
    if not "1850-01-01" <= day.isoformat() < FOREVER:
        raise Refusal(field, f"{text[:20]!r} cannot be")
    return day.isoformat()


def _tags(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    found = []
    for word in text.replace("；", ";").replace("，", ";").replace(",", ";").replace("、", ";").split(";"):
        word = word.strip()
        if word and word not in _CARE:
            raise Refusal("care", f"{word[:30]!r} is no care tag; there are {', '.join(CARE)}")
        if word:
            found.append(_CARE[word])
    return tuple(dict.fromkeys(found))


def getter(values: Mapping[str, str], headings: Mapping[str, str]) -> Callable[[str], Any]:
    """A field's text of a row."""
    return _Texts(zip(headings, map(values.__getitem__, headings.values()), strict=True)).__getitem__


class _Texts(dict[str, str]):
    def __missing__(self, _: str) -> str:
        return ""
