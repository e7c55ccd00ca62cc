"""Memory that a worker process and this one share: prepared pictures, and how far the worker is.

A slab takes one batch. B: pictures in a batch. S: shape of a prepared picture.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from math import prod

import numpy as np

from lightpool_core.arrays import Array

_HEAD = 4096
"""Bytes before the first slab: the status, and room so that slabs begin where pages do."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the shared memory is divided."""

    n_slabs: int
    batch: int
    """B"""
    shape: tuple[int, ...]
    """S"""
    dtype: str

    @property
    def slab_bytes(self) -> int:
        """Of one slab."""
        return self.batch * prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def n_bytes(self) -> int:
        """Of all of it."""
        return _HEAD + self.n_slabs * self.slab_bytes


class Slabs:
    """The shared memory behind the file descriptor `fd`, seen from either side."""

    def __init__(self, fd: int, layout: Layout) -> None:
        self._memory = mmap.mmap(fd, layout.n_bytes)
        status = np.frombuffer(self._memory, np.int64, 2)
        self._position, self._pulse = status[:1], status[1:]
        sizes = layout.batch * prod(layout.shape)
        self.arrays: list[Array] = [
            np.frombuffer(self._memory, layout.dtype, sizes, _HEAD + number * layout.slab_bytes).reshape(
                layout.batch, *layout.shape
            )
            for number in range(layout.n_slabs)
        ]
        """(B, *S) each."""

    @property
    def position(self) -> int:
        """Which source of its task the worker is at."""
        return int(self._position[0])

    @position.setter
    def position(self, position: int) -> None:
        self._position[0] = position

    @property
    def pulse(self) -> int:
        """A number that changes as long as the worker gets on."""
        return int(self._pulse[0])

    @pulse.setter
    def pulse(self, pulse: int) -> None:
        self._pulse[0] = pulse


def shared_memory(n_bytes: int) -> int:
    """A file descriptor of new memory that child processes can map; it goes when the last of them closes it."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("lightpool")  # not in /dev/shm, which containers keep small
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, n_bytes)
    return fd
