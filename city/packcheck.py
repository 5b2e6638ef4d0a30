"""What is wrong with a pack, each with its place in the file and the mend."""

from city.scenario import Pack


def problems(pack: Pack) -> list[str]:
    """What has to be mended before it can be used; empty: nothing."""
    return []
