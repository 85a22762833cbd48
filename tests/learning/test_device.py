"""The words for devices: what they choose, and what is refused in which sentence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learning import device

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda", 0), torch.device("mps")


@pytest.fixture
def cards(monkeypatch):
    """Pretends that PyTorch sees so many CUDA devices, of this compute capability."""

    def pretend(count: int, capability: tuple[int, int] = (8, 0), mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


def test_auto_is_cuda_then_mps_then_the_cpu(cards):
    cards(2, mps=True)
    assert device.choose("auto") == CUDA
    cards(0, mps=True)
    assert device.choose("auto") == MPS
    cards(0)
    assert device.choose() == CPU


def test_several_devices_by_name_by_number_and_all(cards):
    cards(3)
    cuda = [torch.device("cuda", index) for index in range(3)]
    assert device.choose_several("cuda:all") == tuple(cuda)
    assert device.choose_several("cuda:2, cuda:0") == (cuda[2], cuda[0])
    assert device.choose_several("cuda") == (cuda[0],)
    assert device.choose_several("cpu:3") == (CPU,) * 3
    assert device.choose("cuda:1,cuda:2") == cuda[1]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("", "no device is called ''"),
        ("gpu", "no device is called 'gpu'"),
        ("CPU", "no device is called 'CPU'"),
        ("cpu:0", "no device is called 'cpu:0'"),
        ("cpu:-1", "no device is called 'cpu:-1'"),
        ("cpu,", "no device is called ''"),
        ("mps:0", "no device is called 'mps:0'"),
        ("cuda:-1", "no device is called 'cuda:-1'"),
        ("cuda:²", "no device is called 'cuda:²'"),
        ("cuda:1.5", "no device is called 'cuda:1.5'"),
        ("cuda:2", "device cuda:2 is not there: PyTorch sees 2 CUDA devices; choose auto or cpu"),
        ("cuda:0,cuda:7", "device cuda:7 is not there"),
        ("mps", "device mps is not there; choose auto or cpu"),
    ],
)
def test_words_that_name_no_device_are_refused(cards, names, says):
    cards(2)
    with pytest.raises(ValueError) as error:
        device.choose_several(names)
    assert says in str(error.value)


@pytest.mark.parametrize("names", ["cuda", "cuda:0", "cuda:all", "cpu,cuda"])
def test_without_a_card_cuda_is_refused(cards, names):
    cards(0)
    with pytest.raises(ValueError, match="PyTorch sees 0 CUDA devices; choose auto or cpu"):
        device.choose_several(names)


@settings(deadline=None, max_examples=60)
@given(st.text("acdpums:,²1 0", max_size=9))
def test_any_other_word_gives_devices_or_one_of_these_sentences(names):
    try:
        found = device.choose_several(names)
    except ValueError as error:
        assert "device" in str(error) and "choose" in str(error)
    else:
        assert found and all(isinstance(one, torch.device) for one in found)


@pytest.mark.parametrize("threads", [0, -2])
def test_no_threads_are_refused(threads):
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match=f"{threads} threads cannot train; choose at least 1"):
        device.prepare(threads)
    assert torch.get_num_threads() == before


def test_auto_takes_mixed_precision_on_cuda_only(cards):
    cards(1)
    assert device.precision(CPU) is None and device.precision(MPS) is None
    assert device.precision(CUDA) == torch.bfloat16
    assert device.precision(CUDA, "off") is None
    assert device.precision(CPU, "on") == torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)],
)
def test_cards_before_ampere_have_no_bfloat16(cards, capability, dtype):
    cards(1, capability)
    assert device.precision(CUDA) == device.precision(CUDA, "on") == dtype


def test_channels_last_is_taken_where_it_is_faster():
    last, plain = torch.channels_last, torch.contiguous_format
    assert device.memory_format(CUDA) == last
    assert device.memory_format(CPU) == plain
    assert device.memory_format(CPU, gains_on_cpu=True) == last
    assert device.memory_format(MPS, gains_on_cpu=True) == plain
    for where in (CPU, CUDA, MPS):
        assert device.memory_format(where, "on") == last
        assert device.memory_format(where, "off", gains_on_cpu=True) == plain


def test_autocast_computes_in_the_dtype_and_none_changes_nothing():
    x = torch.ones(2, 2)
    with device.autocast(CPU, torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
    with device.autocast(CPU, None):
        assert (x @ x).dtype == torch.float32
