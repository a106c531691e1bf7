"""Compressed gradients for DistributedDataParallel, with error feedback.

    state = tutti.torch.CompressState("topk:ratio=0.01")
    model.register_comm_hook(state, tutti.torch.compress_hook)

What compression leaves out of a gradient is kept by the codec of its parameter and sent with later steps.  Each parameter has a
codec of its own, so it does not matter how DistributedDataParallel packs gradients into buckets, which it does anew after the
first step.  docs/compression.md says which codec to take, and for which network it pays.
"""

import torch

from .. import Codec, Error

_COMPRESSIBLE = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


class CompressState:
    """The codecs of one model on this rank; equal arguments on all ranks.

    spec: the codec as tutti.Codec takes it: "int8", "topk:ratio=0.01,values=fp16", "auto:int4" …
    min_elements: gradients of fewer elements (biases, norms) travel as they are, in one piece with each other.
    process_group: the one of DistributedDataParallel; None: all ranks.  It must be one over tutti.
    model: if given, checkpoints call codecs by the names of its parameters, else by the order in which their gradients first came.

    Memory: 4 bytes for each element of a compressed gradient, 4 more with momentum.
    """

    def __init__(self, spec, min_elements=1024, process_group=None, model=None):
        try:  # a wrong spec is told of here, not in the middle of the first step
            Codec(spec, 1, "float32").close()
        except Error as error:
            raise ValueError(error.sentence) from None
        self.spec, self.min_elements, self.process_group = spec, min_elements, process_group
        self._names = {parameter: name for name, parameter in model.named_parameters()} if model is not None else None
        self._codecs = {}  # parameter: (name, Codec or None)
        self._loaded = {}  # name: state of a codec that has not been made yet

    def codec_of(self, parameter):
        """The Codec of a parameter's gradient, or None where it travels as it is."""
        if parameter not in self._codecs:
            name = self._names.get(parameter) if self._names is not None else str(len(self._codecs))
            if name is None:
                raise ValueError(f"a parameter of shape {tuple(parameter.shape)} is none of the model's that was given.")
            codec = None
            if parameter.numel() >= self.min_elements and parameter.dtype in _COMPRESSIBLE:
                codec = Codec(self.spec, parameter.numel(), _COMPRESSIBLE[parameter.dtype])
                if name in self._loaded:
                    codec.load(self._loaded.pop(name))
            self._codecs[parameter] = name, codec
        return self._codecs[parameter][1]

    def scale(self, factor):
        """Multiplies what is still to be sent; call it with old rate / new rate when the learning rate changes."""
        for codec in self._all().values():
            codec.scale(factor)

    def norm(self):
        """L2 norm of what is still to be sent by this rank."""
        return sum(codec.norm()**2 for codec in self._all().values())**0.5

    def reset(self):
        """Forgets what is still to be sent; needed after a step that failed."""
        for codec in self._all().values():
            codec.reset()
        self._loaded.clear()

    def state_dict(self):
        """For a checkpoint: what this rank has still to send.  Each rank saves and loads its own."""
        codecs = {name: codec.state() for name, codec in self._all().items()}
        codecs.update(self._loaded)
        return {"spec": self.spec, "min_elements": self.min_elements,
                "codecs": {name: torch.frombuffer(bytearray(state), dtype=torch.uint8) for name, state in codecs.items()}}

    def load_state_dict(self, state):
        """What state_dict() of an equal CompressState gave; of another one it is a ValueError, and nothing changes."""
        for key in ("spec", "min_elements"):
            if state[key] != getattr(self, key):
                raise ValueError(f"the checkpoint was made with {key}={state[key]!r}, and here it is {getattr(self, key)!r}.")
        states = {name: bytes(tensor.cpu().numpy()) for name, tensor in state["codecs"].items()}
        made = self._all()
        before = {name: made[name].state() for name in made if name in states}
        try:
            for name in before:
                made[name].load(states[name])
        except Exception as error:
            for name, old in before.items():
                made[name].load(old)
            raise ValueError(f"the checkpoint does not fit this model: {error}") from error
        self._loaded = {name: text for name, text in states.items() if name not in made}

    def _all(self):
        return {name: codec for name, codec in self._codecs.values() if codec is not None}


def compress_hook(state, bucket):
    """A communication hook of DistributedDataParallel: averages a bucket of gradients, compressed by the codecs of `state`."""
    from . import backend_of

    backend = backend_of(state.process_group)
    if backend is None:
        raise ValueError('compress_hook needs a process group over tutti: torch.distributed.init_process_group("tutti").')
    buffer, parameters = bucket.buffer(), bucket.parameters()
    gradients = list(buffer.split([parameter.numel() for parameter in parameters]))
    codecs = [state.codec_of(parameter) for parameter in parameters]
    work = backend.compressed_all_reduce(gradients, codecs)

    def averaged(future):
        future.value()  # raises what went wrong
        return buffer

    return work.get_future().then(averaged)
