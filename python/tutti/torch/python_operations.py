"""The operations of the backend in Python: what c10d asks, as calls of tutti.Communicator."""
import datetime
from functools import partial

import torch
import torch.distributed as dist
from torch._C import _distributed_c10d as c10d

from .python_tensors import (Operands, ReceiveOperands, check_elements, check_list, check_pairs, check_root, check_types,
                             elements_of_ranks, only_of, operator_of, reduction)
from .python_work import TuttiWork, recorded


def _timeout(opts):
    return opts.timeout if opts.timeout > datetime.timedelta(0) else None


class Operations(c10d.Backend):
    """c10d's operations.  Each is a step, or several that torch takes for one: the operands, and a function that takes async_op."""

    def _run(self, title, asynchronous, inputs, results, *steps):
        """Carries out the steps, or starts them; returns the Work of all."""
        raise NotImplementedError

    def _blocking(self, call):
        """Carries out a call of the communicator's; its failures become torch's exceptions."""
        raise NotImplementedError

    # ---- collectives ----

    def broadcast(self, tensors, opts=c10d.BroadcastOptions()):
        tensor, root, operands = only_of(tensors, "tensor"), opts.rootRank, Operands()
        check_root(root, self.size())
        memory = operands.read_write(tensor) if self.rank() == root else operands.write(tensor)
        call = partial(self._communicator.broadcast, memory, root, timeout=_timeout(opts))
        return self._run("broadcast", opts.asyncOp, tensors, tensors, (operands, call))

    def allreduce(self, tensors, opts=c10d.AllreduceOptions()):
        tensor, operands = only_of(tensors, "tensor"), Operands()
        if tensor.is_sparse:
            return self.allreduce_sparse(tensors, opts)
        op, factor = reduction(tensor.dtype, opts.reduceOp)
        memory = operands.read_write(tensor)
        call = partial(self._communicator.all_reduce, memory, op=op, factor=factor, timeout=_timeout(opts))
        return self._run("all_reduce", opts.asyncOp, tensors, tensors, (operands, call))

    def allreduce_coalesced(self, tensors, opts=c10d.AllreduceCoalescedOptions()):
        if not tensors:
            raise ValueError("the list of tensors is empty.")
        check_types(tensors, tensors[0])
        operands = Operands()
        op, factor = reduction(tensors[0].dtype, opts.reduceOp)
        memory = [operands.read_write(tensor) for tensor in tensors]
        call = partial(self._communicator.all_reduce, memory, op=op, factor=factor, timeout=_timeout(opts))
        return self._run("all_reduce", opts.asyncOp, tensors, tensors, (operands, call))

    def compressed_all_reduce(self, tensors, codecs, average=True):
        """The sum or average of each tensor over ranks, in place, with its tutti.Codec (None: as it is).  Returns a Work."""
        if len(tensors) != len(codecs) or not tensors:
            raise ValueError(f"there are {len(codecs)} codecs for {len(tensors)} tensors.")
        check_types(tensors, tensors[0])
        op, _ = reduction(tensors[0].dtype, dist.ReduceOp.AVG if average else dist.ReduceOp.SUM)
        steps, plain, together = [], [], Operands()
        for tensor, codec in zip(tensors, codecs):
            if codec is None:
                plain.append(together.read_write(tensor))
            else:
                operands = Operands()
                steps.append((operands, partial(self._communicator.all_reduce, operands.read_write(tensor), op=op, codec=codec)))
        if plain:
            steps.append((together, partial(self._communicator.all_reduce, plain, op=op)))
        return self._run("compressed_all_reduce", True, tensors, tensors, *steps)

    def reduce(self, tensors, opts=c10d.ReduceOptions()):
        tensor, root, operands = only_of(tensors, "tensor"), opts.rootRank, Operands()
        check_root(root, self.size())
        op, factor = reduction(tensor.dtype, opts.reduceOp)
        memory = operands.read_write(tensor) if self.rank() == root else operands.read(tensor)
        call = partial(self._communicator.reduce, memory, op=op, root=root, factor=factor, timeout=_timeout(opts))
        return self._run("reduce", opts.asyncOp, tensors, tensors, (operands, call))

    def _gather_step(self, output, tensor, opts):
        check_types([output], tensor)
        check_elements(output, tensor.numel() * self.size(), "output")
        operands = Operands()
        source, target = operands.read(tensor), operands.write(output)
        return operands, partial(self._communicator.all_gather, source, target, timeout=_timeout(opts))

    def _gather_list_step(self, outputs, tensor, opts):
        check_list(outputs, self.size(), tensor, "output")
        check_elements(outputs[self.rank()], tensor.numel(), "output of this rank's input")
        operands = Operands()
        targets = [operands.write(output) for output in outputs]
        return operands, partial(self._communicator.all_gather, operands.read(tensor), targets, timeout=_timeout(opts))

    def allgather(self, outputs, inputs, opts=c10d.AllgatherOptions()):
        tensor, outputs = only_of(inputs, "input"), only_of(outputs, "list of outputs")
        return self._run("all_gather", opts.asyncOp, inputs, outputs, self._gather_list_step(outputs, tensor, opts))

    def all_gather_single(self, output, input, opts=c10d.AllgatherOptions()):
        return self._run("all_gather", opts.asyncOp, [input], [output], self._gather_step(output, input, opts))

    def allgather_coalesced(self, outputs, inputs, opts=c10d.AllgatherOptions()):
        """outputs[r][i] is inputs[i] of rank r."""
        if len(outputs) != self.size():
            raise ValueError(f"there are {len(outputs)} lists of outputs for {self.size()} ranks.")
        for of_rank in outputs:
            check_pairs(of_rank, inputs)
        steps = [self._gather_list_step(list(row), tensor, opts) for row, tensor in zip(zip(*outputs), inputs)]
        return self._run("all_gather", opts.asyncOp, inputs, [output for of_rank in outputs for output in of_rank], *steps)

    def all_gather_single_coalesced(self, outputs, inputs, opts=c10d.AllgatherOptions()):
        check_pairs(outputs, inputs)
        steps = [self._gather_step(output, tensor, opts) for output, tensor in zip(outputs, inputs)]
        return self._run("all_gather", opts.asyncOp, inputs, outputs, *steps)

    def gather(self, outputs, inputs, opts=c10d.GatherOptions()):
        tensor, root, operands = only_of(inputs, "input"), opts.rootRank, Operands()
        check_root(root, self.size())
        if self.rank() != root and outputs:
            raise ValueError("only the root of a gather has outputs.")
        results, targets = [], None
        if self.rank() == root:
            results = only_of(outputs, "list of outputs")
            check_list(results, self.size(), tensor, "output")
            for output in results:
                check_elements(output, tensor.numel(), "output")
            targets = [operands.write(output) for output in results]
        call = partial(self._communicator.gather, operands.read(tensor), targets, root, counts=[tensor.numel()] * self.size(),
                       timeout=_timeout(opts))
        return self._run("gather", opts.asyncOp, inputs, results, (operands, call))

    def scatter(self, outputs, inputs, opts=c10d.ScatterOptions()):
        output, root, operands = only_of(outputs, "output"), opts.rootRank, Operands()
        check_root(root, self.size())
        if self.rank() != root and inputs:
            raise ValueError("only the root of a scatter has inputs.")
        tensors, sources = [], None
        if self.rank() == root:
            tensors = only_of(inputs, "list of inputs")
            check_list(tensors, self.size(), output, "input")
            for tensor in tensors:
                check_elements(tensor, output.numel(), "input")
            sources = [operands.read(tensor) for tensor in tensors]
        call = partial(self._communicator.scatter, sources, operands.write(output), root, counts=[output.numel()] * self.size(),
                       timeout=_timeout(opts))
        return self._run("scatter", opts.asyncOp, tensors, outputs, (operands, call))

    def reduce_scatter(self, outputs, inputs, opts=c10d.ReduceScatterOptions()):
        output, tensors, operands = only_of(outputs, "output"), only_of(inputs, "list of inputs"), Operands()
        check_list(tensors, self.size(), output, "input")
        check_elements(output, tensors[self.rank()].numel(), "output")
        op, factor = reduction(output.dtype, opts.reduceOp)
        sources, target = [operands.read(tensor) for tensor in tensors], operands.write(output)
        call = partial(self._communicator.reduce_scatter, sources, target, op, factor=factor, timeout=_timeout(opts))
        return self._run("reduce_scatter", opts.asyncOp, tensors, outputs, (operands, call))

    def _reduce_scatter_step(self, output, tensor, opts):
        check_types([output], tensor)
        check_elements(tensor, output.numel() * self.size(), "input")
        op, factor = reduction(output.dtype, opts.reduceOp)
        operands = Operands()
        source, target = operands.read(tensor), operands.write(output)
        return operands, partial(self._communicator.reduce_scatter, source, target, op, factor=factor, timeout=_timeout(opts))

    def reduce_scatter_single(self, output, input, opts=c10d.ReduceScatterOptions()):
        return self._run("reduce_scatter", opts.asyncOp, [input], [output], self._reduce_scatter_step(output, input, opts))

    def reduce_scatter_single_coalesced(self, outputs, inputs, opts=c10d.ReduceScatterOptions()):
        check_pairs(outputs, inputs)
        steps = [self._reduce_scatter_step(output, tensor, opts) for output, tensor in zip(outputs, inputs)]
        return self._run("reduce_scatter", opts.asyncOp, inputs, outputs, *steps)

    def all_to_all_single(self, output, input, output_splits, input_splits, opts=c10d.AllToAllOptions()):
        check_types([output], input)
        sent = elements_of_ranks(input, input_splits, self.size(), "input")
        got = elements_of_ranks(output, output_splits, self.size(), "output")
        operands = Operands()
        source, target = operands.read(input), operands.write(output)
        call = partial(self._communicator.all_to_all, source, target, send_counts=sent, recv_counts=got, timeout=_timeout(opts))
        return self._run("all_to_all", opts.asyncOp, [input], [output], (operands, call))

    def alltoall(self, outputs, inputs, opts=c10d.AllToAllOptions()):
        if not inputs:
            raise ValueError("the list of inputs is empty.")
        check_list(inputs, self.size(), inputs[0], "input")
        check_list(outputs, self.size(), inputs[0], "output")
        operands = Operands()
        sources, targets = [operands.read(tensor) for tensor in inputs], [operands.write(output) for output in outputs]
        call = partial(self._communicator.all_to_all, sources, targets, timeout=_timeout(opts))
        return self._run("all_to_all", opts.asyncOp, inputs, outputs, (operands, call))

    def barrier(self, opts=c10d.BarrierOptions()):
        return self._run("barrier", opts.asyncOp, [], [], (Operands(), partial(self._communicator.barrier, timeout=_timeout(opts))))

    # ---- messages ----

    def send(self, tensors, dst, tag):
        operands = Operands()
        call = partial(self._communicator.send, operands.read(only_of(tensors, "tensor")), dst, tag)
        return self._run("send", True, tensors, tensors, (operands, call))

    def recv(self, tensors, src, tag):
        if src < 0:
            raise ValueError(f"the source of a receive is {src}.")
        return self._receive("recv", tensors, src, tag)

    def recv_anysource(self, tensors, tag):
        return self._receive("recvAnySource", tensors, -1, tag)

    def _receive(self, title, tensors, src, tag):
        operands = ReceiveOperands(only_of(tensors, "tensor"))

        def receive(async_op):
            request = self._communicator.recv(operands.memory, src, tag, async_op=async_op)
            operands.received = request.result
            return request

        return self._run(title, True, tensors, tensors, (operands, receive))

    # ---- sparse ----

    def allreduce_sparse(self, tensors, opts=c10d.AllreduceOptions()):
        """Gathers all ranks' indices and values, and adds up.

        How much there is to gather is known only after an exchange, and the next must follow it in the order of calls, so this
        waits also where the caller would not.
        """
        tensor = only_of(tensors, "tensor")
        operator = operator_of(opts.reduceOp)
        if operator not in (dist.ReduceOp.SUM, dist.ReduceOp.AVG):
            raise NotImplementedError(f"of sparse tensors tutti has the sum and the average, not {operator.name}.")
        if tensor.device.type != "cpu" or tensor.layout != torch.sparse_coo:
            raise ValueError(f"a sparse all_reduce takes a COO tensor on the CPU; this one is {tensor.layout} on {tensor.device}.")
        with recorded("sparse_all_reduce", []), torch.no_grad():  # the profiler asks for strides, which sparse tensors lack
            total = self._sparse_sum(tensor.coalesce(), opts)
            tensor.copy_(total / self.size() if operator == dist.ReduceOp.AVG else total)
        return TuttiWork(tensors)

    def _sparse_sum(self, mine, opts):
        shape = [mine.sparse_dim(), *mine.size()]
        longest = 64
        if len(shape) + 2 > longest:
            raise ValueError(f"the sparse tensor has {mine.dim()} dimensions.")
        header = torch.zeros((1, longest), dtype=torch.int64)
        header[0, :len(shape) + 2] = torch.tensor([mine._nnz(), mine.dim(), *shape])
        counts = []
        for other in self._all_gather_rows(header, [1] * self.size(), opts):
            if not torch.equal(other[:, 1:], header[:, 1:]):
                raise ValueError("the sparse tensor has another shape at another rank.")
            counts.append(int(other[0, 0]))
        indices = torch.cat(self._all_gather_rows(mine.indices().t().contiguous(), counts, opts)).t()
        values = torch.cat(self._all_gather_rows(mine.values().contiguous(), counts, opts))
        # The indices come from other processes.
        return torch.sparse_coo_tensor(indices, values, mine.size(), check_invariants=True).coalesce()

    def _all_gather_rows(self, rows, counts, opts):
        """`counts[r]` rows of each rank r."""
        outputs = [torch.empty((count, *rows.size()[1:]), dtype=rows.dtype) for count in counts]
        _, call = self._gather_list_step(outputs, rows, opts)
        self._blocking(partial(call, async_op=False))
        return outputs
