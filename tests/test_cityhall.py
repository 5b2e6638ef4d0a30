"""What the site file's table [city] says, in the desk's parts."""

from pathlib import Path

import pytest

from cli import cityhall
from cli import settings as site_settings
from cli.cityhall import Hall
from events.clock import SystemClock
from events.errors import ConfigError

SITE = """
[site]
id = "town"
data = "data"
[city]
code = "370481"
{more}
[[camera]]
id = "gate"
url = "rtsp://192.0.2.1/main"
"""
SERVICES = """
code-system = "of our own"
[[group]]
code = "streets"
name = "Streets"
[[service]]
code = "pothole"
name = "Pothole"
name-zh = "路面坑洞"
group = "streets"
"""


def site(folder: Path, more: str) -> site_settings.Settings:
    path = folder / "site.toml"
    path.write_text(SITE.format(more=more))
    return site_settings.load(path)


def opened(settings: site_settings.Settings) -> Hall:
    return cityhall.opened(settings, SystemClock())


def test_a_city_has_services_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "services.toml").write_text(SERVICES)
    settings = site(tmp_path, 'services = "services.toml"')
    hall = opened(settings)
    try:
        parts = cityhall.parts(settings, hall, SystemClock())
        assert list(parts.services.services) == ["pothole"]
    finally:
        hall.close()
    missing = site(tmp_path, 'services = "nothing.toml"')
    with pytest.raises(ConfigError, match=r"nothing\.toml cannot be used"):
        cityhall.services_of(missing)


def test_words_are_kept_for_as_long_as_the_scenario_says(tmp_path: Path) -> None:
    settings = site(tmp_path, "keep_years = 6\nkeep_years_of = { appeal = 3 }")
    hall = opened(settings)
    try:
        policy = cityhall.retention(settings, hall)
        assert {name: policy.years(name) for name in hall.packs} == {"video": 6, "matter": 6, "appeal": 3}
        strange = site(tmp_path, "keep_years_of = { appeals = 3 }")
        with pytest.raises(ConfigError, match=r"names 'appeals'; .* are video, matter, appeal"):
            cityhall.retention(strange, hall)
    finally:
        hall.close()
    with pytest.raises(ConfigError, match="keep_years_of"):
        site(tmp_path, "keep_years_of = { appeal = 0 }")
