"""Being built."""

from typing import Any


class CaseTables:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def project(self, connection: Any, events: Any) -> None: ...

    def project_imports(self, connection: Any, events: Any) -> None: ...

    def project_alerts(self, connection: Any, events: Any) -> None: ...
