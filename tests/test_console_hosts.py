"""A name of the site file reaches the guard."""

from pathlib import Path

import httpx

from cli import settings, wiring
from events.clock import SystemClock
from tests.siteworks import site_file


def test_the_page_answers_to_the_names_that_the_site_file_lists(tmp_path: Path) -> None:
    path = site_file(tmp_path, {"gate": "rtsp://h/m"})
    text = path.read_text()
    path.write_text(text.replace("enabled = false", 'port = 0\nhosts = ["Cams.example"]'))
    server = wiring.console(settings.load(path), SystemClock(), {})
    server.start()
    try:
        for host, status in (("cams.example", 200), ("cams.example:8443", 200), ("other.example", 400)):
            assert httpx.get(server.url + "/", headers={"host": host}).status_code == status
    finally:
        server.stop()
