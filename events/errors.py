"""One tree of errors. Whether trying again can help is a property of the class.

Every message names the thing that is wrong and, where there is one, the mend.
"""


class LinliError(Exception):
    """Base of every error that Linli raises on purpose."""

    retriable = False


class ConfigError(LinliError):
    """The site file, the environment or a command's arguments are wrong. Shown at start, never retried."""


class SourceError(LinliError):
    """A camera or a stored stream cannot be read now. The worker reconnects."""

    retriable = True


class AuthError(SourceError):
    """The camera refused the credentials (401 or 403). Retried slowly: passwords are changed by people."""


class UnsupportedStream(SourceError):
    """The stream can be reached, but not analysed: wrong codec, no video, not RTSP."""

    retriable = False


class StreamChanged(SourceError):
    """Codec or picture size changed under way; a new stream epoch is needed."""


class ModelError(LinliError):
    """A model file is missing, or its checksum, inputs or outputs are not what its manifest says."""


class StorageError(LinliError):
    """The journal, the store or the footage folder cannot be written or read."""


class DiskFull(StorageError):
    """There is no room left; retention or a person has to make some."""

    retriable = True


class StoreAway(StorageError):
    """A store on the network does not answer, or says that it cannot just now. It is asked again."""

    retriable = True


class StoreDenied(StorageError):
    """A store on the network does not take the credentials, or they do not reach so far. A person has to
    change something; it is asked again slowly."""


class EventRefused(StorageError):
    """An event that the store cannot hold, now or later. Nothing of its batch was applied.

    `log` and `offset` say which record it is.
    """

    def __init__(self, message: str, log: str = "", offset: int = 0) -> None:
        super().__init__(message)
        self.log = log
        self.offset = offset


class BusError(LinliError):
    """The bus on the network refuses: login, rights, certificates, settings. A person has to mend it."""


class BusAway(BusError):
    """The bus on the network does not answer, or cannot just now. Tried again."""

    retriable = True


class LogTruncated(BusError):
    """A log of the bus ends before the place from which it was to be read: the brokers lost its newest
    records. It is to be read again from its beginning; consumers know what they have had.

    `log` names it.
    """

    retriable = True

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


class IllegalTransition(LinliError):
    """A state change that its table does not allow. Nothing was changed."""


class MissingValue(LinliError):
    """A step or an opening without what its pack asks for, or with what it has no use for. Nothing was
    changed.

    `field` says which value.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class VersionConflict(LinliError):
    """Somebody else changed the same thing first. Nothing was changed; look at it again and decide anew."""

    retriable = True


class NotShownYet(StorageError):
    """A change is journaled and holds, but the store has not taken it yet: whoever reads would miss it.

    `thing` and `version` say what to look for.
    """

    retriable = False

    def __init__(self, message: str, thing: str, version: int) -> None:
        super().__init__(message)
        self.thing = thing
        self.version = version


class NoSuchThing(LinliError):
    """There is no case, place or entry of that name, as far as the caller may see."""


class OutsideCity(LinliError):
    """A place that lies in no jurisdiction that is served here."""


class UpstreamError(LinliError):
    """The platform above refuses, or what it sent cannot be taken. A person has to change something."""


class UpstreamAway(UpstreamError):
    """The platform above does not answer, or cannot just now. It is asked again."""

    retriable = True


class UpstreamRefused(UpstreamError):
    """The platform above will not take this one message, now or later."""


class AccessDenied(LinliError):
    """The caller has no right to see this."""


class UnreadableEvent(LinliError):
    """What came over the bus cannot be taken for an event. It becomes a dead letter with this text."""


class MalformedEvent(UnreadableEvent):
    """It is not an event of ours; the text says which header or field is wrong."""


class UnknownEvent(UnreadableEvent):
    """An event, but of a type that this version does not know: a newer Linli wrote it."""
