"""Trains on scikit-learn's digits with fully_shard over Tutti: each rank holds its share of parameters and optimizer state.

    torchrun --nproc-per-node 2 python/examples/fsdp.py
    mpirun -n 2 python python/examples/fsdp.py --checkpoint /tmp/digits
"""

import argparse

import common
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", metavar="DIR", help="where to save the trained model, each rank its share")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes of each rank that load data")
    arguments = parser.parse_args()

    common.join()
    loader, test = common.digits(arguments.workers)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    model = common.classifier()
    for layer in model:
        if isinstance(layer, torch.nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)  # after fully_shard: for the shares
    common.train(model, optimizer, loader, arguments.epochs)
    common.say(f"{common.accuracy(model, test):.1%} of the other 297 digits are recognized")
    if arguments.checkpoint:
        checkpoint.save(get_model_state_dict(model), checkpoint_id=arguments.checkpoint)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
