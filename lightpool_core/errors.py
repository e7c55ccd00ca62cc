"""What can go wrong, as a tree.

LightpoolError
  SourceError     SourceNotFound  DecodeError
  PluginError     UnknownPlugin  PluginUnavailable  ContractViolation
  PoolError       PoolNotFound  PoolExists  PoolLocked  VersionNotFound  EmbedderMismatch  CorruptPool
  SettingsError

Every message is one line: what is wrong, with which thing, and what to do next.
"""

import errno
import os
import re

_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "make it writable",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EMFILE: "let it open more files (ulimit -n)",
    errno.ENFILE: "let programs open more files",
    errno.EIO: "check the disk",
}
_NUMBER = re.compile(r"(?:os error|[Ee]rrno|Os \{ code:) (\d+)")
"""How libraries that are not Python hand on what the system said."""


class LightpoolError(Exception):
    """An expected failure: the command line prints its message and exits with 1."""

    def __str__(self) -> str:
        """The message, on one line whatever names it quotes."""
        return super().__str__().replace("\n", "\\n").replace("\r", "\\r")


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


def failure(error: Exception) -> str:
    """What the system could not do, or else the `error` itself, and what to do next; one line."""
    number = errno_of(error)
    if number is None:
        return " ".join(str(error).split())
    return f"{os.strerror(number)}; {_ADVICE[number]}, then run the same command again"


def errno_of(error: Exception) -> int | None:
    """Which of the system's limits `error` is about: a full disk, a right that is missing; None where about none."""
    found = _NUMBER.search(str(error))
    number = error.errno if isinstance(error, OSError) and error.errno else int(found[1]) if found else None
    return number if number in _ADVICE else None
