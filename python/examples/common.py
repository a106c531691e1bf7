"""What the examples share: who this process is, the data, the model, and the training with a line for each epoch."""

import os
import time

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import tutti.torch

try:
    from tqdm import tqdm
except ImportError:  # no progress bar then
    tqdm = None

# What torch reads, and what it is called under mpirun: of Open MPI, of MPICH and its relatives.
LAUNCHER = {
    "RANK": ("OMPI_COMM_WORLD_RANK", "PMI_RANK"),
    "WORLD_SIZE": ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"),
    "LOCAL_WORLD_SIZE": ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"),
}
BATCH = 32


def join():
    """Starts the process group over Tutti: under torchrun, under mpirun, or of one rank without either."""
    for name, others in LAUNCHER.items():
        values = [os.environ[other] for other in (name, *others) if other in os.environ]
        os.environ[name] = values[0] if values else {"RANK": "0"}.get(name, "1")
    if "MASTER_ADDR" not in os.environ:
        if os.environ["WORLD_SIZE"] != os.environ["LOCAL_WORLD_SIZE"]:
            raise SystemExit("The ranks are on several hosts: name the host of rank 0 by `mpirun -x MASTER_ADDR=HOST …`.")
        os.environ["MASTER_ADDR"] = "127.0.0.1"
    os.environ.setdefault("MASTER_PORT", "29500")
    dist.init_process_group("tutti")


def digits(workers):
    """scikit-learn's 1797 images of 8 × 8 pixels: a DataLoader of this rank's share of 1500, and the other 297 for testing."""
    data = load_digits()
    images, labels = torch.tensor(data.images, dtype=torch.float32).flatten(1) / 16, torch.tensor(data.target)
    train = TensorDataset(images[:1500], labels[:1500])
    loader = DataLoader(train, BATCH, sampler=DistributedSampler(train), num_workers=workers, persistent_workers=workers > 0)
    return loader, (images[1500:], labels[1500:])


def classifier():
    """A perceptron with two hidden layers, the same on all ranks."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU(),
                               torch.nn.Linear(256, 10))


def train(model, optimizer, loader, epochs):
    """Plain training; rank 0 prints the mean loss of all ranks, what they do per second, and what it sends."""
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        begin, sent = time.perf_counter(), tutti.torch.statistics()["sent_bytes"]
        losses = torch.zeros(())
        for images, labels in progress(loader, f"epoch {epoch + 1}"):
            optimizer.zero_grad()
            loss = cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            losses += loss.detach() / len(loader)
        sent = tutti.torch.statistics()["sent_bytes"] - sent
        dist.all_reduce(losses, dist.ReduceOp.AVG)
        speed = len(loader.sampler) * dist.get_world_size() / (time.perf_counter() - begin)
        say(f"epoch {epoch + 1:2}: loss {losses:.4f}, {speed:7.0f} examples/s, {sent / 1e6:6.2f} MB sent by rank 0")


def accuracy(model, test):
    images, labels = test
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def progress(loader, title):
    """A progress bar on rank 0, where its output is a terminal."""
    if tqdm is None or dist.get_rank() != 0:
        return loader
    return tqdm(loader, title, leave=False, disable=None)


def say(text):
    if dist.get_rank() == 0:
        print(text, flush=True)
