from __future__ import annotations

import pytest
import torch

from lightpool_core.device import check_device, has_fast_bfloat16, has_matrix_bfloat16, torch_device
from lightpool_core.errors import SettingsError

NO_GPU = not torch.cuda.is_available() and not torch.backends.mps.is_available()


def complaint(name: str) -> str:
    with pytest.raises(SettingsError) as caught:
        torch_device(name)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.skipif(not NO_GPU, reason="this machine has a GPU")
def test_auto_is_the_cpu_where_there_is_nothing_faster() -> None:
    assert torch_device() == torch_device("auto") == torch.device("cpu")
    check_device("auto")


@pytest.mark.parametrize(("cuda", "mps", "device"), [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps")])
def test_auto_is_the_fastest_there_is(cuda: bool, mps: bool, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert torch_device("auto").type == device


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_the_cpu_can_be_asked_for(name: str) -> None:
    assert torch_device(name).type == "cpu"
    check_device(name)


@pytest.mark.parametrize(
    "name", ["", " ", "gpu", "CUDA", "abacus", "cpu cpu", "cuda:x", "cuda:-1", "cpu:x", "auto:0", "meta", "xla", "a\nb"]
)
def test_a_name_that_means_nothing_is_refused_in_one_line(name: str) -> None:
    said = complaint(name)
    assert repr(name) in said
    assert "give auto" in said
    with pytest.raises(SettingsError):
        check_device(name)


@pytest.mark.skipif(not NO_GPU, reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7", "mps"])
def test_a_device_that_this_machine_has_not_is_refused_in_one_line(name: str) -> None:
    assert repr(name) in complaint(name)


def test_a_cuda_device_beyond_those_there_are_is_refused() -> None:
    assert "'cuda:99'" in complaint("cuda:99")


def test_bfloat16_is_fast_where_the_hardware_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for matrix, vector in ((False, False), (False, True), (True, True)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda matrix=matrix: matrix, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda vector=vector: vector, raising=False)
        assert has_matrix_bfloat16(cpu) == matrix
        assert has_fast_bfloat16(cpu) == vector
    assert not has_fast_bfloat16(torch.device("mps"))
    assert not has_matrix_bfloat16(torch.device("cuda"))


def test_a_torch_that_cannot_tell_has_no_fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert not has_fast_bfloat16(torch.device("cpu"))
    assert not has_matrix_bfloat16(torch.device("cpu"))
