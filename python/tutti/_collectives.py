"""The collectives of a Communicator."""
from typing import Any, List, Optional, Sequence, Union

from ._buffers import Span, span
from ._calls import Options, Timeout, addresses, move, reduction, same_elements, sizes
from ._library import lib
from .request import Request


def _pair(name: str) -> tuple:
    """A function of the library, blocking and asynchronous."""
    return getattr(lib, f"tutti_{name}"), getattr(lib, f"tutti_{name}_start")


_ALL_REDUCE, _ALL_REDUCE_LIST = _pair("all_reduce"), _pair("all_reduce_list")
_REDUCE_SCATTER = [_pair(name) for name in ("reduce_scatter", "reduce_scatter_v", "reduce_scatter_parts")]
_ALL_GATHER = [_pair(name) for name in ("all_gather", "all_gather_v", "all_gather_parts")]
_GATHER = [_pair(name) for name in ("gather", "gather_v", "gather_parts")]
_SCATTER = [_pair(name) for name in ("scatter", "scatter_v", "scatter_parts")]
_ALL_TO_ALL, _ALL_TO_ALL_V, _ALL_TO_ALL_PARTS = map(_pair, ("all_to_all", "all_to_all_v", "all_to_all_parts"))
_BROADCAST, _REDUCE, _SCAN, _EXSCAN, _BARRIER = map(_pair, ("broadcast", "reduce", "scan", "exscan", "barrier"))

Buffers = Union[Any, Sequence[Any]]  # an array, or a list of arrays


def _in_parts(arrays: Any) -> bool:
    return isinstance(arrays, (list, tuple))


def _spans(arrays: Sequence[Any], name: str, dtype: Any, writable: bool) -> List[Span]:
    return [span(array, f"{name}[{i}]", dtype, writable) for i, array in enumerate(arrays)]


def _require(has: int, needs: int, what: str) -> None:
    if has != needs:
        raise ValueError(f"{what} has {has} elements, and the call needs {needs}")


def _in_and_out(input: Any, output: Any, dtype: Any) -> tuple:
    """Spans of as many elements; without output both are input's."""
    source = span(input, "input", dtype, output is None)
    if output is None:
        return source, source
    target = span(output, "output", dtype, True)
    same_elements([source, target], "input and output")
    _require(target.count, source.count, "output")
    return source, target


class Collectives:
    """Every rank of the communicator calls the same collectives in the same order.

    Arrays: NumPy arrays, anything with the buffer protocol (bytearray, memoryview, array.array) or DLPack on the CPU (torch
      tensors …), contiguous; their shape does not matter.  The caller leaves them alone until the call, or its request, has ended.
    dtype: how to take the memory instead of as the array says ("bfloat16" in a bytearray).  Complex numbers are reduced by their
      parts; elements of types that the library does not know are moved as bytes, and reduced by functions only.
    op: "sum", "prod", "min", "max", "avg"; "band", "bor", "bxor" of integers; a function of two NumPy arrays, or a Reduction.
    algorithm: "ring", "tree", "recursive", "doubling", "direct", "exchange", "hierarchical"; None: chosen.
    timeout: seconds without any progress after which the call fails; None: the communicator's.
    async_op: True: returns a Request at once.  Otherwise the call blocks, without Python's lock, until the result is in this
      rank's output and its input may be written again.
    Raises ValueError or TypeError before anything is started where arrays do not fit, Error where the library refuses or fails.
    All ranks give equal arguments, but for arrays and `factor`.
    """

    def _call(self, pair: tuple, options: Optional[Options], async_op: bool, keep: Any, *arguments: Any) -> Optional[Request]:
        raise NotImplementedError

    def all_reduce(self, input: Buffers, output: Optional[Buffers] = None, op: Any = "sum", *, dtype: Any = None,
                   algorithm: Optional[str] = None, timeout: Optional[Timeout] = None, codec: Any = None,
                   factor: Optional[float] = None, async_op: bool = False) -> Optional[Request]:
        """output[i] = reduction over ranks of input[i], on every rank.  Without output: in place.

        Lists of arrays are reduced by one call, as their concatenation would be; other ranks may cut it elsewhere.
        codec: a Codec, for sum and avg; equal on all ranks.
        factor: this rank's input counts as many times (sum and avg of floating point types).
        """
        if _in_parts(input):
            return self._all_reduce_list(input, output, op, dtype, algorithm, timeout, codec, factor, async_op)
        source, target = _in_and_out(input, output, dtype)
        code, options = reduction(op, source, algorithm, timeout, codec, factor)
        element = source.element
        return self._call(_ALL_REDUCE, options, async_op, (source, target), source.address, target.address,
                          source.count * element.width, element.code, code)

    def _all_reduce_list(self, inputs, outputs, op, dtype, algorithm, timeout, codec, factor, async_op):
        sources = _spans(inputs, "input", dtype, outputs is None)
        targets = sources
        if outputs is not None:
            targets = _spans(outputs, "output", dtype, True)
            if len(targets) != len(sources):
                raise ValueError(f"output is a list of {len(targets)} arrays, and input of {len(sources)}")
            for i, (source, target) in enumerate(zip(sources, targets)):
                _require(target.count, source.count, f"output[{i}]")
        if not sources:
            raise ValueError("input is an empty list: without an array there is no type of elements to reduce")
        element = same_elements(sources + targets, "the arrays of input and output")
        code, options = reduction(op, sources[0], algorithm, timeout, codec, factor)
        return self._call(_ALL_REDUCE_LIST, options, async_op, (sources, targets), addresses(sources), addresses(targets),
                          sizes([source.count * element.width for source in sources]), len(sources), element.code, code)

    def reduce(self, input: Any, output: Any = None, op: Any = "sum", root: int = 0, *, dtype: Any = None,
               algorithm: Optional[str] = None, timeout: Optional[Timeout] = None, factor: Optional[float] = None,
               async_op: bool = False) -> Optional[Request]:
        """The root's output[i] = reduction over ranks of input[i].  Without output: in place.  Other ranks' output is not used."""
        at_root = self.rank == root
        source, target = _in_and_out(input, output, dtype) if at_root else (span(input, "input", dtype), None)
        code, options = reduction(op, source, algorithm, timeout, None, factor)
        element = source.element
        return self._call(_REDUCE, options, async_op, (source, target), source.address, target.address if target else None,
                          source.count * element.width, element.code, code, root)

    def scan(self, input: Any, output: Any = None, op: Any = "sum", *, dtype: Any = None, algorithm: Optional[str] = None,
             timeout: Optional[Timeout] = None, factor: Optional[float] = None, async_op: bool = False) -> Optional[Request]:
        """output[i] = reduction over ranks 0 … this one of input[i], in the order of ranks; not avg.  Without output: in place."""
        return self._scan(_SCAN, input, output, op, dtype, algorithm, timeout, factor, async_op)

    def exscan(self, input: Any, output: Any = None, op: Any = "sum", *, dtype: Any = None, algorithm: Optional[str] = None,
               timeout: Optional[Timeout] = None, factor: Optional[float] = None, async_op: bool = False) -> Optional[Request]:
        """As scan, over the ranks before this one; rank 0's output is left as it is."""
        return self._scan(_EXSCAN, input, output, op, dtype, algorithm, timeout, factor, async_op)

    def _scan(self, pair, input, output, op, dtype, algorithm, timeout, factor, async_op):
        source, target = _in_and_out(input, output, dtype)
        code, options = reduction(op, source, algorithm, timeout, None, factor)
        element = source.element
        return self._call(pair, options, async_op, (source, target), source.address, target.address, source.count * element.width,
                          element.code, code)

    def broadcast(self, buffer: Any, root: int = 0, *, dtype: Any = None, algorithm: Optional[str] = None,
                  timeout: Optional[Timeout] = None, async_op: bool = False) -> Optional[Request]:
        """The root's buffer becomes every rank's."""
        data = span(buffer, "buffer", dtype, self.rank != root)
        return self._call(_BROADCAST, move(algorithm, timeout), async_op, data, data.address, data.address,
                          data.count * data.element.width, data.element.code, root)

    def barrier(self, *, timeout: Optional[Timeout] = None, async_op: bool = False) -> Optional[Request]:
        """Ends when every rank has called it."""
        return self._call(_BARRIER, move(None, timeout), async_op, None)

    # ---- a part for each rank ----
    # counts: elements of each rank's part, equal on all ranks; None: all parts are equal.  A list of arrays, one for
    # each rank, may stand for the array that they would make; its lengths are the counts then, which ranks without a
    # list give by `counts`.

    def reduce_scatter(self, input: Buffers, output: Any = None, op: Any = "sum", *, counts: Optional[Sequence[int]] = None,
                       dtype: Any = None, algorithm: Optional[str] = None, timeout: Optional[Timeout] = None,
                       factor: Optional[float] = None, async_op: bool = False) -> Optional[Request]:
        """This rank gets its part of the reduction of all ranks' input.  Without output: in place, where the part is in input."""
        whole = self._whole(input, "input", dtype, output is None, counts)
        part = whole.part(self.rank) if output is None else span(output, "output", dtype, True)
        element = whole.match(part, "output", self.rank)
        code, options = reduction(op, part, algorithm, timeout, None, factor)
        pair = whole.choose(*_REDUCE_SCATTER)
        return self._call(pair, options, async_op, (whole, part), whole.address, part.address, whole.count, element.code, code)

    def all_gather(self, input: Any, output: Buffers, *, counts: Optional[Sequence[int]] = None, dtype: Any = None,
                   algorithm: Optional[str] = None, timeout: Optional[Timeout] = None, async_op: bool = False) -> Optional[Request]:
        """Every rank's input becomes its part of every rank's output.  input None: this rank's is in its place there already."""
        whole = self._whole(output, "output", dtype, True, counts)
        part = whole.part(self.rank) if input is None else span(input, "input", dtype)
        element = whole.match(part, "input", self.rank)
        pair = whole.choose(*_ALL_GATHER)
        return self._call(pair, move(algorithm, timeout), async_op, (whole, part), part.address, whole.address, whole.count,
                          element.code)

    def gather(self, input: Any, output: Optional[Buffers] = None, root: int = 0, *, counts: Optional[Sequence[int]] = None,
               dtype: Any = None, algorithm: Optional[str] = None, timeout: Optional[Timeout] = None,
               async_op: bool = False) -> Optional[Request]:
        """Every rank's input becomes its part of the root's output, which is used there only.

        input None, at the root: its part is in its place in output already.
        """
        return self._rooted("gather", output, "output", True, input, "input", False, root, counts, dtype, move(algorithm, timeout),
                            async_op)

    def scatter(self, input: Optional[Buffers], output: Any = None, root: int = 0, *, counts: Optional[Sequence[int]] = None,
                dtype: Any = None, algorithm: Optional[str] = None, timeout: Optional[Timeout] = None,
                async_op: bool = False) -> Optional[Request]:
        """The parts of the root's input, which is used there only, become the ranks' outputs.

        output None, at the root: its part stays where it is in input.
        """
        return self._rooted("scatter", input, "input", False, output, "output", True, root, counts, dtype, move(algorithm, timeout),
                            async_op)

    def _rooted(self, collective, whole, whole_name, whole_written, part, part_name, part_written, root, counts, dtype, options,
                async_op):
        """gather or scatter: between the root's `whole` and each rank's `part`."""
        if self.rank == root:
            if whole is None:
                raise ValueError(f"{whole_name} is None at the root")
            whole = self._whole(whole, whole_name, dtype, whole_written, counts)
            part = whole.part(self.rank) if part is None else span(part, part_name, dtype, part_written)
        else:
            if part is None:
                raise ValueError(f"{part_name} is None at rank {self.rank}, which is not the root")
            part = span(part, part_name, dtype, part_written)
            whole = _Elsewhere(None if counts is None else self._checked_counts(counts, "counts"), part)
        element = whole.match(part, part_name, self.rank)
        pair = whole.choose(*(_GATHER if collective == "gather" else _SCATTER))
        places = (part.address, whole.address) if collective == "gather" else (whole.address, part.address)
        return self._call(pair, options, async_op, (whole, part), *places, whole.count, element.code, root)

    def all_to_all(self, input: Optional[Buffers], output: Buffers, *, send_counts: Optional[Sequence[int]] = None,
                   recv_counts: Optional[Sequence[int]] = None, send_offsets: Optional[Sequence[int]] = None,
                   recv_offsets: Optional[Sequence[int]] = None, dtype: Any = None, algorithm: Optional[str] = None,
                   timeout: Optional[Timeout] = None, async_op: bool = False) -> Optional[Request]:
        """Part j of rank i's input becomes part i of rank j's output.

        Equal parts; or of send_counts[j] and recv_counts[i] elements, at these offsets in elements (None: one after another); or
        lists of arrays, for both.  input None: output is sent, and overwritten; counts and offsets are equal both ways then.
        """
        options = move(algorithm, timeout)
        if _in_parts(output):
            return self._all_to_all_parts(input, output, dtype, options, async_op)
        target = span(output, "output", dtype, True)
        source = target if input is None else span(input, "input", dtype)
        element = same_elements([source, target], "input and output")
        if send_counts is None and recv_counts is None:
            _require(source.count, target.count, "input")
            if target.count % self.size:
                raise ValueError(f"output has {target.count} elements, no multiple of the {self.size} ranks; "
                                 "send_counts and recv_counts make unequal parts")
            return self._call(_ALL_TO_ALL, options, async_op, (source, target), source.address, target.address,
                              target.count // self.size * element.width, element.code)
        if send_counts is None or recv_counts is None:
            raise ValueError("all_to_all takes send_counts and recv_counts together")
        sends = self._places(send_counts, send_offsets, source, "input", "send")
        receives = self._places(recv_counts, recv_offsets, target, "output", "recv")
        return self._call(_ALL_TO_ALL_V, options, async_op, (source, target), source.address, *sends, target.address, *receives,
                          element.code)

    def _places(self, counts, offsets, whole, name, direction):
        """Arrays of counts and offsets, in the library's elements, that are within the array."""
        counts = self._checked_counts(counts, f"{direction}_counts")
        if offsets is None:
            offsets = [sum(counts[:r]) for r in range(self.size)]
        offsets = self._checked_counts(offsets, f"{direction}_offsets")
        for r, (count, offset) in enumerate(zip(counts, offsets)):
            if count and offset + count > whole.count:
                raise ValueError(f"{name} has {whole.count} elements, and rank {r}'s part ends at {offset + count}")
        width = whole.element.width
        return sizes([count * width for count in counts]), sizes([offset * width for offset in offsets])

    def _all_to_all_parts(self, inputs, outputs, dtype, options, async_op):
        if not _in_parts(inputs) or len(inputs) != self.size or len(outputs) != self.size:
            raise ValueError(f"all_to_all of lists takes one array for each of the {self.size} ranks, as input and as output")
        sources, targets = _spans(inputs, "input", dtype, False), _spans(outputs, "output", dtype, True)
        element = same_elements(sources + targets, "the arrays of input and output")
        width = element.width
        return self._call(_ALL_TO_ALL_PARTS, options, async_op, (sources, targets),
                          addresses(sources), sizes([source.count * width for source in sources]),
                          addresses(targets), sizes([target.count * width for target in targets]), element.code)

    def _checked_counts(self, counts: Sequence[int], name: str) -> List[int]:
        counts = [int(count) for count in counts]
        if len(counts) != self.size:
            raise ValueError(f"{name} has {len(counts)} numbers, and the communicator {self.size} ranks")
        if min(counts) < 0:
            raise ValueError(f"{name} has a number below 0: {counts}")
        return counts

    def _whole(self, arrays, name, dtype, writable, counts):
        """All ranks' parts: in one array, equal or by counts, or in a list of arrays."""
        if counts is not None:
            counts = self._checked_counts(counts, "counts")
        if _in_parts(arrays):
            if len(arrays) != self.size:
                raise ValueError(f"{name} is a list of {len(arrays)} arrays, and the communicator has {self.size} ranks")
            return _Parts(_spans(arrays, name, dtype, writable), counts, name)
        return _Whole(span(arrays, name, dtype, writable), counts, self.size, name)


class _Whole:
    """All ranks' parts one after another in one array."""

    def __init__(self, data: Span, counts: Optional[List[int]], size: int, name: str):
        self.data, self.counts, self.size, self.name, self.address = data, counts, size, name, data.address
        if counts is not None:
            _require(data.count, sum(counts), name)
            self.count = sizes([count * data.element.width for count in counts])
        else:
            if data.count % size:
                raise ValueError(f"{name} has {data.count} elements, no multiple of the {size} ranks; counts makes unequal parts")
            self.count = data.count // size * data.element.width

    def part(self, rank: int) -> Span:
        data, counts = self.data, self.counts
        begin = data.count // self.size * rank if counts is None else sum(counts[:rank])
        count = data.count // self.size if counts is None else counts[rank]
        return Span(data.address + begin * data.element.bytes, count, data.element, data.owner, data.array)

    def match(self, part: Span, part_name: str, rank: int):
        """The type of elements of both, once they fit."""
        _require(part.count, self.data.count // self.size if self.counts is None else self.counts[rank], part_name)
        return same_elements([self.data, part], f"{self.name} and {part_name}")

    def choose(self, equal, by_counts, parts):
        return equal if self.counts is None else by_counts


class _Parts:
    """Each rank's part in an array of its own."""

    def __init__(self, spans: List[Span], counts: Optional[List[int]], name: str):
        self.spans, self.name, self.address = spans, name, addresses(spans)
        self.element = same_elements(spans, f"the arrays of {name}")
        for r, found in enumerate(spans):
            if counts is not None:
                _require(found.count, counts[r], f"{name}[{r}]")
        self.count = sizes([found.count * self.element.width for found in spans])

    def part(self, rank: int) -> Span:
        return self.spans[rank]

    def match(self, part: Span, part_name: str, rank: int):
        _require(part.count, self.spans[rank].count, part_name)
        return same_elements([self.spans[rank], part], f"{self.name} and {part_name}")

    def choose(self, equal, by_counts, parts):
        return parts


class _Elsewhere:
    """The root's array, at another rank."""

    address = None

    def __init__(self, counts: Optional[List[int]], part: Span):
        self.counts, width = counts, part.element.width
        self.count = part.count * width if counts is None else sizes([count * width for count in counts])

    def match(self, part: Span, part_name: str, rank: int):
        if self.counts is not None:
            _require(part.count, self.counts[rank], part_name)
        return part.element

    def choose(self, equal, by_counts, parts):
        return equal if self.counts is None else by_counts
