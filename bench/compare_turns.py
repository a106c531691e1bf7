"""The turns of bench/compare: which driver runs when, and for how long."""

import time

import compare_peers
import compare_report

# Sizes of one run: long enough to pay for starting processes, short enough that libraries meet the same weather.
GROUP_BYTES = (64 << 10, 4 << 20, 16 << 20, 1 << 60)
QUICK_GROUP_BYTES = (4 << 20, 1 << 60)  # a size takes less time, so a run takes more sizes


def groups(sizes, quick):
    """The sizes in runs of neighbours."""
    bounds = [0, *(QUICK_GROUP_BYTES if quick else GROUP_BYTES)]
    parts = [[s for s in sizes if low < s <= high] for low, high in zip(bounds, bounds[1:])]
    return [part for part in parts if part]


class Collection:
    """All samples, and why runs failed."""

    def __init__(self, chosen, peers, drivers):
        self.chosen, self.peers, self.drivers = chosen, peers, drivers
        self.samples, self.failures = [], {}
        self.unfinished = set()  # (peer name, transport, ranks) that ran out of time
        self.started = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.started

    def left(self):
        return self.chosen.limit - self.seconds() if self.chosen.limit else float("inf")

    def collect(self):
        places = [(transport, ranks) for transport in self.chosen.transports for ranks in self.chosen.ranks]
        for turn in range(self.chosen.repeat):
            for transport, ranks in places:
                line = [peer for peer in self.peers if transport in peer.transports]
                for part in groups(self.chosen.sizes, self.chosen.quick):
                    for peer in line if turn % 2 == 0 else reversed(line):
                        if self.left() > 0 and (peer.name, transport, ranks) not in self.unfinished:
                            self.run(peer, transport, ranks, part, turn)
                over = self.left() <= 0
                print(f"# turn {turn + 1} of {self.chosen.repeat}, {transport}, {ranks} ranks: {self.seconds():.0f} s"
                      + ", the limit" * over, flush=True)
                if over:
                    return

    def run(self, peer, transport, ranks, part, turn):
        """One driver over a few sizes.  Under a limit it gets a quarter of that, or 20 s, and is not run again with so many
        ranks if that was too little: a library that hangs must not take all the time."""
        quick, limit = self.chosen.quick, self.chosen.limit or float("inf")
        arguments = ["--sizes", ",".join(map(str, part)), "--budget", "0.08" if quick else "0.3"]
        arguments += ["--rotate", str((128 if quick else 256) << 20)]
        bound = compare_peers.cores()[:ranks] if self.chosen.bind and peer.one_core else ()
        found, fault = [], None
        try:
            found = compare_peers.run(peer, self.drivers[peer.name], transport, ranks, arguments, bound,
                                      min(compare_peers.RUN_LIMIT_S, max(limit / 4, 20), self.left()))
        except compare_peers.Unfinished as error:
            found = error.samples
            if self.left() > 0:  # else it is not that library's fault
                fault = str(error)
                self.unfinished.add((peer.name, transport, ranks))
        except RuntimeError as error:
            fault = str(error)
        if fault:
            self.failures[peer.name, transport, ranks, compare_report.size_name(part[0])] = fault
        label = {"placement": f"{self.chosen.busy} busy"} if self.chosen.busy else {}
        self.samples += [{**sample, **label, "lib": peer.name, "turn": turn} for sample in found
                         if compare_peers.serves(peer, sample)]
