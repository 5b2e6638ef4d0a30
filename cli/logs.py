"""Log lines, set up here and nowhere else: text for a person, or one JSON object a line for a collector.

`begin` is called by the command itself, `of_site` by each process once it knows its site. Whatever the form,
what passes through here has its secrets masked: message, arguments and traces alike.
"""

import logging
import re
import sys
import threading
import time
from types import TracebackType
from typing import Any, Literal, TextIO

from pythonjsonlogger.json import JsonFormatter

from ingest.credentials import mask

Form = Literal["text", "json"]

TRACE = "trace_id"
"""Field of a log line that is about one event: `log.warning(..., extra={"trace_id": ...})`."""

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_NAMED = re.compile(
    r"(?i)(['\"]?[a-z0-9_]*(?:password|passwd|secret|token|sse_key|access_key)['\"]?\s*[:=]\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s,;&'\"){}\]]+)"
)
_AGE = re.compile(r"AGE-SECRET-KEY-[A-Z0-9]+")


def clean(text: str) -> str:
    """The text without what could be a secret: logins in URLs, passwords and tokens by their names."""
    text = _BEARER.sub(r"\1 ***", mask(text))
    return _AGE.sub("AGE-SECRET-KEY-***", _NAMED.sub(r"\1***", text))


class TextLines(logging.Formatter):
    """For a person."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record))


class JsonLines(JsonFormatter):
    """One object a line: time, level, logger, message, process, site; and, where there are such, trace_id and
    exception (the whole trace, one field)."""

    def __init__(self, process: str, site: str) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={
                "levelname": "level",
                "name": "logger",
                "exc_info": "exception",
                "stack_info": "stack",
            },
            static_fields={"process": process, "site": site},
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Every text in it is cleaned, those of `extra` too."""
        cleaned = {name: _cleaned(value, name) for name, value in log_data.items()}
        return super().process_log_record(cleaned)

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        at = time.gmtime(record.created)
        log_data["time"] = f"{time.strftime('%Y-%m-%dT%H:%M:%S', at)}.{int(record.msecs):03d}Z"
        super().add_fields(log_data, record, message_dict)


def _cleaned(value: Any, name: str = "") -> Any:
    if isinstance(value, str):
        named = clean(f"{name}={value}") if name else ""
        return "***" if named == f"{name}=***" else clean(value)
    if isinstance(value, dict):
        return {str(key): _cleaned(one, str(key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(one) for one in value]
    return value if isinstance(value, bool | int | float | None) else clean(str(value))


def begin(verbose: bool) -> None:
    """Text on standard error, before the site is known."""
    _use(TextLines())
    logging.getLogger().setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("libav").setLevel(logging.CRITICAL)
    logging.captureWarnings(True)


def of_site(form: Form, process: str, site: str) -> None:
    """Lines as the site file wants them.

    Args:
        process: worker-0, services, console ...
        site: its id.
    """
    if form == "text":
        _use(TextLines())
        return
    _use(JsonLines(process, site))
    # A trace in several lines is none that a collector can read.
    sys.excepthook = _uncaught
    threading.excepthook = lambda fell: _uncaught(
        fell.exc_type, fell.exc_value, fell.exc_traceback, fell.thread.name if fell.thread else ""
    )


def structured() -> bool:
    """Whether lines are JSON now."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def fell(error: BaseException) -> None:
    """A fault that nobody saw to, on its way to the end of the process."""
    logging.getLogger("linli").critical(
        "ended by %s", type(error).__name__, exc_info=(type(error), error, error.__traceback__)
    )


def told(text: str) -> None:
    """What somebody who starts a command wants to know: a line for a person, or a log line."""
    if structured():
        named = logging.getLogger("linli")
        named.setLevel(logging.INFO)
        named.info("%s", text)
    else:
        print(clean(text), file=sys.stderr)


def refused(text: str) -> None:
    """Why a command ends: a line for a person, or a log line where those are JSON."""
    if structured():
        logging.getLogger("linli").critical("%s", text)
    else:
        print(f"linli: {clean(text)}", file=sys.stderr)


class _Stderr(logging.StreamHandler[TextIO]):
    """Standard error, whatever that is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _use(formatter: logging.Formatter) -> None:
    """The root's only handler writes to standard error with this."""
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if isinstance(handler, _Stderr)]
    if ours:
        ours[0].setFormatter(formatter)
        return
    handler = _Stderr()
    handler.setFormatter(formatter)
    root.addHandler(handler)


def _uncaught(
    kind: type[BaseException],
    error: BaseException | None,
    trace: TracebackType | None,
    thread: str = "",
) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    where = f" in thread {thread}" if thread else ""
    logging.getLogger("linli").critical(
        "nobody saw to this%s: %s", where, kind.__name__, exc_info=(kind, error, trace)
    )
