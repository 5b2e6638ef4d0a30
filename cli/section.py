"""What every table of the site file has in common."""

from typing import Annotated

import msgspec

Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table of the file: an unknown key is an error."""


def check_credentials(where: str, text: str) -> None:
    """
    Raises:
        ValueError: neither empty nor `env:NAME` or `file:PATH`. The text is not shown: it may be the secret.
    """
    if text and text.partition(":")[0] not in ("env", "file"):
        raise ValueError(f'{where}: credentials are "env:NAME" or "file:PATH", nothing else')
