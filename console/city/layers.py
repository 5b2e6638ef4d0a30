"""Which layers of the map the caller may see, and which part of each."""

from starlette.requests import Request

from city.layers import TITLES
from city.rights import WHOLE, Actor, decide
from console.city.auth import reached
from console.city.context import City, city_of
from console.problems import Problem
from storage.city.casewrites import layer_of
from storage.city.featurealerts import ALERTS
from storage.city.features import Layer


def seen_layers(request: Request) -> tuple[list[Layer], str]:
    """The layers that the caller may see, and how codes of what it may see in them begin ('': all).

    Raises:
        Problem: 401, 403.
    """
    actor, prefix = reached(request, "map.read")
    city = city_of(request)
    return [layer for layer in city.store.features.layers() if _may(city, actor, layer.name)], prefix


def seen_layer(request: Request, name: str) -> tuple[Layer, str]:
    """One of them.

    Raises:
        Problem: 401, 403; 404: there is none, as far as the caller may see.
    """
    actor, prefix = reached(request, "map.read")
    city = city_of(request)
    layer = city.store.features.layer(name) if _may(city, actor, name) else None
    if layer is None:
        raise Problem(404, f"there is no collection {name[:60]!r}; /city/ogc/collections lists them")
    return layer, prefix


def title_of(city: City, layer: str) -> str:
    """What a layer is called, in English and Chinese."""
    if layer in TITLES:
        return " / ".join(TITLES[layer])
    for pack in city.packs.values():
        if layer_of(pack.id) == layer:
            return f"{pack.layer.title} / {pack.layer.title_zh}"
    return layer


def _may(city: City, actor: Actor, layer: str) -> bool:
    """Layers of cases are for those who may read all cases of their jurisdiction, not only their own."""
    if layer != ALERTS and layer not in map(layer_of, city.packs):
        return True
    return decide(actor, "case.read", WHOLE).allowed
