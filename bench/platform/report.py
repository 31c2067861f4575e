"""How figures are printed, and kept for whoever compares them later."""

import json
import os
import pathlib
import statistics
import time

from instance import ROOT


def seconds(value):
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def megabytes(value):
    return f"{value / 1e6:.1f} MB"


def line(name, value, beside=""):
    print(f"{name:<58} {value:>10}  {beside}".rstrip(), flush=True)


def spread(samples):
    """`median (least to most, n)` of times."""
    return f"{seconds(statistics.median(samples))} ({seconds(min(samples))} to {seconds(max(samples))}, n={len(samples)})"


def compare(name, ours, peer_name, peers):
    """Prints two lists of times and the ratio of their medians."""
    line(name, seconds(statistics.median(ours)), spread(ours))
    line(f"  beside it: {peer_name}", seconds(statistics.median(peers)), spread(peers))
    line("  ratio", f"{statistics.median(ours) / statistics.median(peers):.2f}")


def keep(name, figures):
    """Writes the raw figures to target/bench/NAME.json."""
    folder = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    record = {"bench": name, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
              "load": os.getloadavg(), "processors": os.cpu_count(), "figures": figures}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
