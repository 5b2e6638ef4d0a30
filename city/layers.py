"""What can be put on the map by an import or an edit, and what each of it has to say of itself."""

from collections.abc import Mapping
from typing import Any

import msgspec

from city.components import ComponentTable
from city.duties import ROLES, days_flaw, hours_flaw
from city.features import Feature
from city.jurisdictions import code_flaw

POINT = ("Point",)
LINE = ("LineString", "MultiLineString")
AREA = ("Polygon", "MultiPolygon")


class Kind(msgspec.Struct, frozen=True):
    """One kind of thing."""

    what: str
    title: str
    title_zh: str
    geometries: tuple[str, ...]
    """That it may have."""
    placed: bool = True
    """It must have one."""
    needs: tuple[str, ...] = ()
    """Properties that may not be left out."""
    dates: tuple[str, ...] = ()
    """Properties that are days, YYYY-MM-DD."""


KINDS: Mapping[str, Kind] = {
    kind.what: kind
    for kind in (
        Kind("jurisdiction", "Jurisdictions", "区划与网格", AREA),
        Kind("building", "Buildings", "楼栋", POINT + AREA),
        Kind("component", "City components", "城市部件", POINT + LINE + AREA),
        Kind("organisation", "Organisations and teams", "组织与队伍", POINT + AREA, placed=False),
        Kind("station", "Service stations", "服务站", POINT, placed=False),
        Kind("unit", "Units: shops, firms, schools", "实有单位", POINT + AREA, placed=False),
        Kind(
            "estate", "Property estates", "物业小区", AREA, False, ("company",),
            ("contract_since", "contract_until"),
        ),
        Kind("duty", "Duty rosters", "值班表", (), False, ("role",)),
        Kind("camera", "Cameras", "摄像机", POINT, needs=("kind",)),
        Kind("camera-view", "What cameras see of the ground", "摄像机视域", AREA),
        Kind("visit", "Places to visit in a campaign", "走访点", POINT + AREA),
    )
}  # fmt: skip

TITLES: Mapping[str, tuple[str, str]] = {
    **{kind.what: (kind.title, kind.title_zh) for kind in KINDS.values()},
    "alerts": ("Video alerts", "视频告警"),
}
"""Of layers; scenarios' layers have the titles of their packs."""


def flaw(feature: Feature, city: str, table: ComponentTable) -> tuple[str, str]:
    """The field that is wrong with a feature taken alone, and why; ("", "") if nothing is.

    Args:
        city: the code that jurisdictions and components have to begin with.
    """
    kind = KINDS[feature.what]
    if not feature.id or len(feature.id) > 64 or feature.id != feature.id.strip():
        return "id", f"the id {feature.id[:70]!r} must have 1 to 64 characters"
    geometry: dict[str, Any] | None = feature.geometry
    if geometry is None:
        if kind.placed:
            return "geometry", "it has no place"
    elif geometry["type"] not in kind.geometries:
        allowed = ", ".join(kind.geometries) or "none"
        return "geometry", f"it is a {geometry['type']}; a {kind.what} may be: {allowed}"
    for name in kind.needs:
        if feature.properties.get(name) in (None, ""):
            return name, f"{name} is not given"
    if feature.until_us and feature.until_us <= feature.since_us:
        return "until", "it ends before it begins"
    return _own_flaw(feature, city, table)


def _own_flaw(feature: Feature, city: str, table: ComponentTable) -> tuple[str, str]:
    properties = feature.properties
    if feature.what == "jurisdiction":
        text = code_flaw(feature.level, feature.id, feature.parent, city)
        return ("code", text) if text else ("", "")
    if feature.what == "component":
        if text := table.flaw(feature.id, city):
            return "code", text
        if text := table.state_flaw(str(properties.get("state") or "")):
            return "state", text
        accuracy = properties.get("accuracy") or "A"
        if accuracy not in table.accuracies:
            return "accuracy", f"accuracy {accuracy!r} is none of {', '.join(table.accuracies)}"
    if feature.what == "duty":
        if properties["role"] not in ROLES:
            return "role", f"role {properties['role']!r} is none of {', '.join(ROLES)}"
        if text := hours_flaw(str(properties.get("hours") or "")):
            return "hours", text
        if text := days_flaw(str(properties.get("days") or "")):
            return "days", text
    return "", ""
