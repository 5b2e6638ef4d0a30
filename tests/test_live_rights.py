"""Who may look live at people as the camera sees them."""

from pathlib import Path
from typing import Any

import pytest
from starlette.websockets import WebSocket

from console.access import Grant, PrivacySettings
from console.live import _admit
from tests.console_stage import TOKENS, Stage

GRANTS = PrivacySettings(
    pixelate=("person", "face"),
    grant=(
        Grant(who="officer", token_env="OFFICE", rights=("live", "plain")),
        Grant(who="desk", token_env="DESK", rights=("live",)),
    ),
)


async def nothing(*_: Any) -> Any:
    return {}


@pytest.mark.parametrize(("token", "hidden"), [("OFFICE", None), ("DESK", ("person", "face"))])
def test_only_the_right_plain_gives_plain_stills(
    tmp_path: Path, token: str, hidden: tuple[str, ...] | None
) -> None:
    with Stage(tmp_path, GRANTS) as stage:
        scope = {
            "type": "websocket",
            "app": stage.app,
            "path": "/live/gate",
            "path_params": {"camera": "gate"},
            "query_string": b"as=stills",
            "headers": [(b"authorization", f"Bearer {TOKENS[token]}".encode())],
            "client": ("127.0.0.1", 5),
        }
        tail = _admit(stage.app.state.console, WebSocket(scope, nothing, nothing))
        assert (tail._stills, tail._hidden) == (True, hidden)
