"""The table and the drawing of bench/compare, from its samples."""

from statistics import median

LEFT_OUT = ("MOVED", "BUSY")  # samples during which cores moved or ran something else


def size_name(size):
    for unit, name in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)


def number(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


class Table:
    """All samples of one transport, number of ranks and placement."""

    def __init__(self, samples, base):
        first = samples[0]
        self.transport, self.ranks, self.placement, self.base = first["transport"], first["ranks"], first["placement"], base
        self.times = {}  # (lib, bytes) → {turn: µs}
        self.algorithms = {}  # (lib, bytes) → the last one used
        for sample in samples:
            self.algorithms[sample["lib"], sample["bytes"]] = sample.get("algorithm", "")
            self.times.setdefault((sample["lib"], sample["bytes"]), {})[sample["turn"]] = sample["p50_us"]
        self.sizes = sorted({size for _, size in self.times})
        present = {lib for lib, _ in self.times}
        self.libs = [base] * (base in present) + sorted(present - {base}, key=[s["lib"] for s in samples].index)

    def median(self, lib, size):
        turns = self.times.get((lib, size))
        return median(turns.values()) if turns else None

    def spread(self, lib, size):
        """Half the way from fastest to slowest turn, as a share of the median."""
        turns = self.times[lib, size].values()
        return (max(turns) - min(turns)) / 2 / median(turns)

    def ratio(self, lib, size, base=None):
        """The median over turns of this library's time by the base's in the same turn."""
        own, base = self.times.get((lib, size), {}), self.times.get((base or self.base, size), {})
        both = own.keys() & base.keys()
        return median(own[turn] / base[turn] for turn in both) if both else None

    def choice_text(self, choice, algorithms):
        """The time of `choice` by that of the best of `algorithms`, the median over turns.  None without both."""
        lines = [f"{self.title()}: {choice} by the best algorithm (1: none is faster)",
                 f"{'size':>8}{'chosen':>14}{'best':>14}{'choice/best':>13}"]
        for size in self.sizes:
            known = [lib for lib in algorithms if self.ratio(lib, size, choice)]
            if known:
                best = min(known, key=lambda lib: self.ratio(lib, size, choice))
                row = f"{size_name(size):>8}{self.algorithms[choice, size]:>14}{self.algorithms[best, size]:>14}"
                lines.append(row + f"{self.ratio(choice, size, best):>13.2f}")
        return "\n".join(lines) if len(lines) > 2 else None

    def title(self):
        return f"{self.ranks} ranks, {self.transport}, placement {self.placement}"

    def text(self):
        lines = [f"{self.title()}: median µs ±spread, and its ratio to {self.base} (above 1: {self.base} is faster)"]
        lines.append("    size" + "".join(f"{lib:>17}" + ("" if lib == self.base else "   ratio") for lib in self.libs))
        for size in self.sizes:
            row = f"{size_name(size):>8}"
            for lib in self.libs:
                value = self.median(lib, size)
                ratio = self.ratio(lib, size)
                row += f"{'-' if value is None else f'{number(value)} ±{100 * self.spread(lib, size):3.0f}%':>17}"
                if lib != self.base:
                    row += f"{'-' if ratio is None else f'{ratio:.2f}':>8}"
            lines.append(row)
        return "\n".join(lines)


def tables(samples, base):
    """One for each transport, number of ranks and placement, in the order of the first samples."""
    groups = {}
    for sample in samples:
        if sample["placement"] not in LEFT_OUT:
            groups.setdefault((sample["transport"], sample["ranks"], sample["placement"]), []).append(sample)
    return [Table(group, base) for group in groups.values()]


def draw(all_tables, files, limits):
    """Into files, .png or .svg: time by size for each transport and number of ranks, ratios below.  False without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    fullest = {}  # of each transport and number of ranks, the placement that has most samples
    for table in all_tables:
        key = (table.transport, table.ranks)
        if key not in fullest or len(table.times) > len(fullest[key].times):
            fullest[key] = table
    if not fullest:
        return False
    pyplot.rcParams["svg.hashsalt"] = "tutti"  # the same samples give the same file
    figure, axes = pyplot.subplots(2, len(fullest), figsize=(5.2 * len(fullest), 7.5), squeeze=False, sharex=True,
                                   gridspec_kw={"height_ratios": [2, 1]}, layout="constrained")
    colours = {}
    for (above, below), table in zip(axes.T, fullest.values()):
        for lib in table.libs:
            colour = colours.setdefault(lib, f"C{len(colours)}")
            style = {"color": colour, "marker": "o", "markersize": 3, "linestyle": ":" if lib in limits else "-"}
            known = [size for size in table.sizes if table.median(lib, size) is not None]
            above.plot(known, [table.median(lib, size) for size in known], label=lib, **style)
            paired = [size for size in known if table.ratio(lib, size) is not None]
            if lib != table.base:
                below.plot(paired, [table.ratio(lib, size) for size in paired], **style)
        above.set(title=table.title(), xscale="log", yscale="log", ylabel="time (µs)")
        below.set(xscale="log", yscale="log", xlabel="bytes of float32, summed", ylabel=f"time / {table.base}'s")
        below.axhline(1, color="black", linewidth=0.8)
        bottom, top = below.get_ylim()
        below.set_ylim(max(bottom, 0.2), min(top, 50))  # what is beyond says no more than that
        below.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        below.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        below.yaxis.set_minor_formatter(ticker.NullFormatter())
        below.set_xticks(table.sizes[::2], [size_name(size) for size in table.sizes[::2]])
        below.xaxis.set_minor_locator(ticker.NullLocator())
        for axis in (above, below):
            axis.grid(True, which="major", alpha=0.3)
        above.legend(fontsize=8)
    for file in files:
        figure.savefig(file, dpi=120, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)
    return True
