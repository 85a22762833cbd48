"""Local training on several devices of one machine: one process a device, with PyTorch's DDP.

The batches, their order and the loss are those of `learning.training`; the processes divide each
batch. Nothing leaves the machine: the processes find each other through a file, and communicate
over the loopback interface (gloo) or between GPUs (NCCL).
"""

from __future__ import annotations

import copy
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import (
    ProcessContext,
    ProcessExitedException,
    ProcessRaisedException,
    start_processes,
)
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from learning import device as devices
from learning.training import Augment, SingleProcess, Trainer, TrainSettings, TrainStats

POLL_SECONDS = 0.05


def trainer(
    model: nn.Module,
    settings: TrainSettings,
    on: Sequence[torch.device],
    *,
    proximal: Collection[str] | None = None,
    augment: Augment | None = None,
) -> Trainer | DistributedTrainer:
    """The trainer for `learning.device.choose_several`: in this process, or in one for each device.

    Raises:
        ValueError: If the devices cannot work together, or `batch_size` is too small for them.
    """
    if len(on) == 1:
        return Trainer(model, settings, on[0], proximal=proximal, augment=augment)
    return DistributedTrainer(model, settings, on, proximal=proximal, augment=augment)


class DistributedTrainer:
    """Like `Trainer`, on several devices. The processes live for one call.

    The model is on the CPU between calls. A batch is divided among the devices, so `batch_size`
    must be at least two for each. On CUDA, BatchNorm takes its statistics over the whole batch; on
    the CPU, over each process's part, and the first one's are kept.

    Raises:
        ValueError: If the devices cannot work together, or `batch_size` is too small for them.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TrainSettings,
        on: Sequence[torch.device],
        *,
        proximal: Collection[str] | None = None,
        augment: Augment | None = None,
    ) -> None:
        if len({device.type for device in on}) != 1 or on[0].type == "mps":
            raise ValueError(
                "several devices must all be CUDA devices, or all the CPU; choose one device or"
                " cuda:all"
            )
        if settings.batch_size < 2 * len(on):
            raise ValueError(
                f"a batch of {settings.batch_size} is too small for {len(on)} devices; take"
                f" {2 * len(on)} or more"
            )
        self.model, self.settings, self.devices = model, settings, list(on)
        self.proximal, self.augment = proximal, augment

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        seed: int,
        rows: Tensor | None = None,
        progress: Callable[[int, int], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> TrainStats:
        """As `Trainer.train`. Fewer than two examples a device train on the first device alone.

        `images` and `labels` are moved to shared memory, so that the processes have one copy.

        Raises:
            RuntimeError: If a process dies.
        """
        rows = torch.arange(len(labels)) if rows is None else rows.cpu()
        if len(rows) < 2 * len(self.devices):
            single = Trainer(
                self.model,
                self.settings,
                self.devices[0],
                proximal=self.proximal,
                augment=self.augment,
            )
            stats = single.train(images, labels, seed=seed, rows=rows, progress=progress, stop=stop)
            self.model.cpu()
            return stats
        started = time.perf_counter()
        shared = self.model.cpu().share_memory()
        # steps made, steps in all, asked to stop, stopped; and the mean loss
        board, loss = (
            _shared(torch.zeros(4, dtype=torch.int64)),
            _shared(torch.zeros(1)),
        )
        with tempfile.TemporaryDirectory() as folder:
            work = (
                self,
                shared,
                _shared(images.cpu()),
                _shared(labels.cpu()),
                rows,
                seed,
                board,
                loss,
            )
            context = start_processes(  # type: ignore[no-untyped-call]  # torch's own
                _work,
                (os.path.join(folder, "meet"), os.getpid(), *work),
                len(self.devices),
                join=False,
            )
            self._follow(context, board, progress, stop)
        steps, _, _, stopped = board.tolist()
        seconds = time.perf_counter() - started
        return TrainStats(
            len(rows), steps, loss.item() if steps else math.nan, seconds, bool(stopped)
        )

    @staticmethod
    def _follow(
        context: ProcessContext,
        board: Tensor,
        progress: Callable[[int, int], None] | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        told = 0
        try:
            while not context.join(timeout=POLL_SECONDS):
                if stop is not None and stop():
                    board[2] = 1
                if progress is not None and int(board[0]) > told:
                    told = int(board[0])
                    progress(told, int(board[1]))
        except (ProcessRaisedException, ProcessExitedException) as error:
            raise RuntimeError(f"training on several devices failed: {error}") from error
        finally:
            for process in context.processes:
                process.kill()
        if progress is not None and int(board[0]) > told:
            progress(int(board[0]), int(board[1]))

    def __getstate__(self) -> dict[str, object]:
        # the model travels by itself, in shared memory
        return {**self.__dict__, "model": None}


def _shared(tensor: Tensor) -> Tensor:
    moved: Tensor = tensor.share_memory_()  # type: ignore[no-untyped-call]  # torch's own
    return moved


class OneOfSeveral(SingleProcess):
    """One of `world` processes: every world-th example of a batch; DDP averages the gradients."""

    def __init__(self, rank: int, world: int, device: torch.device) -> None:
        self.rank, self.world, self.device = rank, world, device
        self.smallest_batch = 2 * world
        # agreeing over gloo does not make a GPU wait
        self.flags: Any = dist.new_group(backend="gloo") if device.type == "cuda" else None

    def wrap(self, model: nn.Module) -> nn.Module:
        if self.device.type == "cuda":
            synced = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]  # torch's own
            return DistributedDataParallel(synced, device_ids=[self.device])
        return DistributedDataParallel(model)

    def share(self, rows: Tensor) -> Tensor:
        return rows[self.rank :: self.world]

    def loss(self, logits: Tensor, labels: Tensor, rows: Tensor, weights: Tensor | None) -> Tensor:
        # DDP averages over processes: times world, over the whole batch's weight, makes that the
        # batch's mean
        whole = len(rows) if weights is None else weights[labels[rows]].sum()
        mine = labels[self.share(rows)]
        return cross_entropy(logits, mine, weight=weights, reduction="sum") * (self.world / whole)

    def agree(self, stop: bool) -> bool:
        flag = torch.tensor([int(stop)])
        dist.broadcast(flag, src=0, group=self.flags)
        return bool(flag)

    def total(self, value: Tensor) -> float:
        dist.all_reduce(value)
        return value.item() / self.world


def _work(
    rank: int,
    meeting: str,
    parent: int,
    plan: DistributedTrainer,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    seed: int,
    board: Tensor,
    loss: Tensor,
) -> None:
    """One process. The first writes to `board` and `loss`, and the trained state into `model`."""
    # Ctrl-C reaches every process; the parent stops us in order. PyTorch sends the same signal when
    # the parent has died.
    signal.signal(signal.SIGINT, lambda *_: None if os.getppid() == parent else os._exit(1))
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    world, device = len(plan.devices), plan.devices[rank]
    devices.prepare(max(1, torch.get_num_threads() // world))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=world,
    )
    mine = copy.deepcopy(model)

    def progress(done: int, of: int) -> None:
        if rank == 0:
            board[0], board[1] = done, of

    trainer = Trainer(
        mine,
        plan.settings,
        device,
        proximal=plan.proximal,
        augment=plan.augment,
        group=OneOfSeveral(rank, world, device),
    )
    stats = trainer.train(
        images, labels, seed=seed, rows=rows, progress=progress, stop=lambda: bool(board[2])
    )
    if rank == 0:
        target = model.state_dict()
        for name, value in mine.state_dict().items():
            target[name].copy_(value)
        board[3], loss[0] = int(stats.stopped), stats.loss
    dist.barrier()
    dist.destroy_process_group()
