"""What can be wrong with a message or an identifier."""


class ProtocolError(ValueError):
    """Something that crossed, or would cross, the wire breaks the contract."""


class MalformedMessage(ProtocolError):
    """Bytes that do not decode, or decode to something impossible."""


class LimitExceeded(MalformedMessage):
    """A size above `protocol.limits`, found before memory was taken for it."""


class UnsupportedVersion(ProtocolError):
    """A message of a version that this release does not speak."""


class InvalidIdentifier(ProtocolError):
    """A site, controller, meter or point id that breaks the naming rule."""


class UnknownQuantity(ProtocolError):
    """A name that the closed list of quantities does not hold."""


class UnknownProfile(ProtocolError):
    """A profile id that neither the library nor the site defines."""


class InvalidProfile(ProtocolError):
    """A profile that breaks the schema; the message names file, point and key."""


class InvalidSite(ProtocolError):
    """A site configuration that cannot be carried out; the message names the key and the remedy."""


class UnknownSunSpecModel(ProtocolError):
    """A SunSpec model of which no definition is known."""
