"""Where the arithmetic is done: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightpool_core.errors import SettingsError

if TYPE_CHECKING:
    import torch


_KINDS = ("cpu", "cuda", "mps")


def torch_device(name: str = "auto") -> torch.device:
    """The device of that name, tried out; of `auto`, the first there is of cuda, mps and cpu.

    Raises SettingsError where this machine, or this build of torch, has no such device.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name.partition(":")[0] not in _KINDS:
        raise SettingsError(f"there is no device {name!r}; give auto, cpu, cuda, cuda:N or mps")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingsError(
            f"device {name!r} is not on this machine, or not in this build of torch; give auto"
        ) from error
    return device


def check_device(name: str) -> None:
    """Raise SettingsError for a device that is not there; before hours of work rather than after."""
    if name != "auto":
        torch_device(name)


def has_fast_bfloat16(device: torch.device) -> bool:
    """True where the hardware itself computes in bfloat16."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # not in every release of torch
    return device.type == "cpu" and any(getattr(torch.cpu, check, bool)() for check in checks)


def has_matrix_bfloat16(device: torch.device) -> bool:
    """True on a CPU that multiplies matrices many times faster in bfloat16 than in float32, and sums in float32.

    GPUs may sum in bfloat16 as well, which no margin bounds.
    """
    import torch

    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())
