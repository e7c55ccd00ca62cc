"""What can go wrong, as a tree.

LightpoolError
  SourceError     SourceNotFound  DecodeError
  PluginError     UnknownPlugin  PluginUnavailable  ContractViolation
  PoolError       PoolNotFound  PoolExists  PoolLocked  VersionNotFound  EmbedderMismatch  CorruptPool
  SettingsError

Every message is one line: what is wrong, with which thing, and what to do next.
"""


class LightpoolError(Exception):
    """An expected failure: the command line prints its message and exits with 1."""


class SourceError(LightpoolError):
    """Something about raw data."""


class SourceNotFound(SourceError):
    """An input, a listed file or a frame that is not there."""


class DecodeError(SourceError):
    """A file that no decoder understands. An append counts it and goes on."""


class PluginError(LightpoolError):
    """Something about an embedder or a sampler."""


class UnknownPlugin(PluginError):
    """No plugin of that name is installed."""


class PluginUnavailable(PluginError):
    """The plugin is installed and cannot work here: its import fails, or its weights are out of reach."""


class ContractViolation(PluginError):
    """A plugin answered with something that its protocol forbids."""


class PoolError(LightpoolError):
    """Something about a datapool."""


class PoolNotFound(PoolError):
    """No datapool in that folder."""


class PoolExists(PoolError):
    """A datapool, or something else, is in that folder already."""


class PoolLocked(PoolError):
    """Another command is writing to the datapool."""


class VersionNotFound(PoolError):
    """The datapool has no such version, or no longer keeps it."""


class EmbedderMismatch(PoolError):
    """The embedder at hand is not the one that made the pool's embeddings."""


class CorruptPool(PoolError):
    """What lies on disk contradicts itself."""


class SettingsError(LightpoolError):
    """A setting or option with a wrong name, type or value."""
