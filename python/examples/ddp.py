"""Trains on scikit-learn's digits with DistributedDataParallel over Tutti; with --codec the gradients travel compressed.

    torchrun --nproc-per-node 2 python/examples/ddp.py
    mpirun -n 2 python python/examples/ddp.py --codec topk:ratio=0.01 --workers 2
"""

import argparse

import common
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import tutti.torch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", metavar="SPEC", help="int8, int4, sign, fp16, topk:ratio=0.01, auto:int4 …")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes of each rank that load data")
    arguments = parser.parse_args()

    common.join()
    loader, test = common.digits(arguments.workers)
    classifier = common.classifier()
    model = DistributedDataParallel(classifier)
    if arguments.codec:
        state = tutti.torch.CompressState(arguments.codec, model=classifier)
        model.register_comm_hook(state, tutti.torch.compress_hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    common.train(model, optimizer, loader, arguments.epochs)
    common.say(f"{common.accuracy(classifier, test):.1%} of the other 297 digits are recognized")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
