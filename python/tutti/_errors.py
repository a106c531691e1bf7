"""How a call fails: one exception class, with the library's own status and sentence."""
import enum
from typing import Optional


class Status(enum.IntEnum):
    """Why a call failed (tutti_status)."""

    SUCCESS = 0
    INVALID_ARGUMENT = 1  # this rank's call is wrong; nothing was started
    UNSUPPORTED = 2  # a valid call that this build or algorithm cannot carry out
    OUT_OF_MEMORY = 3
    UNREACHABLE = 4  # ranks could not find or reach each other at creation
    PEER_LOST = 5  # a rank died, left or closed its connection
    TIMEOUT = 6  # no progress for the communicator's timeout; the late rank is named
    MISMATCH = 7  # ranks made different calls
    ABORTED = 8  # a rank called abort
    SYSTEM = 9  # the operating system refused something
    INTERNAL = 10  # a bug in Tutti


class Error(RuntimeError):
    """A call failed.

    status:   why, a Status
    rank:     this process's rank in the communicator; None where the call had none (creation, codecs)
    sentence: who, what, where, and what to try; it is str(error), too

    After PEER_LOST, TIMEOUT, MISMATCH, ABORTED, SYSTEM and INTERNAL the communicator is dead: each later call raises the same;
    close it and create a new one.  After the others it is as it was before the call.
    """

    __module__ = "tutti"  # what tracebacks call it

    def __init__(self, status: int, sentence: str, rank: Optional[int] = None):
        super().__init__(sentence)
        self.status = Status(status)
        self.rank = rank
        self.sentence = sentence

    def __reduce__(self):  # so that it passes between processes (multiprocessing, concurrent.futures)
        return type(self), (self.status, self.sentence, self.rank)
