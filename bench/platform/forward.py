"""Bytes per second, and the time of a short connection, through `coracle forward`: on Docker beside the pod's own address, on
a cluster (--kubernetes, with KUBECONFIG) beside `kubectl port-forward` to the same pod. The two take turns, so that a busy
machine is busy for both. Docker's peer has no program in between: its ratio says what the way through the platform costs.
"""

import argparse
import contextlib
import json
import pathlib
import socket
import statistics
import subprocess
import time

import instance
from instance import READY_SECONDS, TEST_IMAGE, Instance, say, wait_until
from report import compare, keep, line

PORT = 9000
POD = "bench"
CHUNK = 64 * 1024
# Answers a line with so many times 64 KiB, or reads so many bytes.
SERVE = ("read n; case $n in u*) head -c ${n#u} >/dev/null; echo done;; "
         "*) dd if=/dev/zero bs=65536 count=$n 2>/dev/null;; esac")


class OnCluster(Instance):
    def options(self):
        return [*super().options(), "--engine", "kubernetes"]

    def __exit__(self, *how):
        identity = (self.data / "platform.id").read_text(encoding="ascii").strip()
        super().__exit__(*how)
        subprocess.run(["kubectl", "delete", "namespaces", "--selector", f"coracle.io/platform={identity}", "--wait=false"],
                       check=False, stdout=subprocess.DEVNULL)


def download(address, chunks):
    """Seconds for so many times 64 KiB from the pod."""
    began = time.perf_counter()
    with socket.create_connection(address, 60) as stream:
        stream.sendall(f"{chunks}\n".encode())
        left = chunks * CHUNK
        buffer = bytearray(256 * 1024)
        while count := stream.recv_into(buffer):
            left -= count
    if left:
        raise SystemExit(f"{left} bytes of {chunks * CHUNK} did not come from {address}")
    return time.perf_counter() - began


def upload(address, chunks):
    """Seconds for so many times 64 KiB to the pod, to its word that it has them."""
    piece = bytes(CHUNK)
    began = time.perf_counter()
    with socket.create_connection(address, 60) as stream:
        stream.sendall(f"u{chunks * CHUNK}\n".encode())
        for _ in range(chunks):
            stream.sendall(piece)
        if stream.recv(16).strip() != b"done":
            raise SystemExit(f"{address} did not take it all")
    return time.perf_counter() - began


def short(address):
    """Seconds for a connection that asks for one chunk."""
    return download(address, 1)


@contextlib.contextmanager
def forwarded(platform):
    """`coracle forward`; the address that it listens on."""
    command = subprocess.Popen([instance.BINARY, "forward", f"pod/{POD}", f"0:{PORT}", "--output", "json"],
                               env=platform.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        host, port = json.loads(command.stdout.readline())["forwards"][0]["listen"][0].rsplit(":", 1)
        yield host, int(port)
    finally:
        command.terminate()
        command.wait(10)


@contextlib.contextmanager
def kubectl(platform, pod):
    """`kubectl port-forward`; the address that it listens on."""
    command = subprocess.Popen(["kubectl", "-n", "coracle-default", "port-forward", f"pod/{pod}", f":{PORT}"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        # Forwarding from 127.0.0.1:40123 -> 9000
        yield "127.0.0.1", int(command.stdout.readline().split("->")[0].rsplit(":", 1)[1])
    finally:
        command.terminate()
        command.wait(10)


@contextlib.contextmanager
def direct(platform, pod):
    """The pod's own address."""
    yield json.loads(platform.run("pods", "show", pod, "--output", "json"))["status"]["address"], PORT


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kubernetes", action="store_true")
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--megabytes", type=int, default=64)
    arguments.add_argument("--binary", type=pathlib.Path, help="instead of the release build")
    asked = arguments.parse_args()
    if asked.binary:
        instance.BINARY = asked.binary.resolve()
    chunks = asked.megabytes * 16
    engine, peer = (OnCluster, kubectl) if asked.kubernetes else (Instance, direct)
    name = "kubectl port-forward" if asked.kubernetes else "the pod's own address"
    with engine() as platform:
        platform.run("pods", "create", POD, "--image", TEST_IMAGE, "--port", str(PORT), "--",
                     "nc", "-ll", "-p", str(PORT), "-e", "sh", "-c", SERVE)

        def ready():
            return json.loads(platform.run("pods", "show", POD, "--output", "json"))["status"]["phase"] == "ready"

        wait_until("the pod", ready, READY_SECONDS, every=0.2)
        figures = {}
        with forwarded(platform) as ours, peer(platform, POD) as theirs:
            for address in (ours, theirs):
                download(address, 16)
            say(f"{asked.rounds} rounds of {asked.megabytes} MB each way")
            for what, measure in (("from the pod", lambda a: download(a, chunks)),
                                  ("to the pod", lambda a: upload(a, chunks)), ("a short connection", short)):
                mine, others = [], []
                for _ in range(asked.rounds):
                    mine.append(measure(ours))
                    others.append(measure(theirs))
                compare(what, mine, name, others)
                if measure is not short:
                    rates = [asked.megabytes * 1.048576 / statistics.median(times) for times in (mine, others)]
                    line("  MB/s", f"{rates[0]:.0f}", f"beside {rates[1]:.0f}")
                figures[what] = {"coracle": mine, name: others}
        platform.run("pods", "delete", POD)
    keep("forward-kubernetes" if asked.kubernetes else "forward", figures)


if __name__ == "__main__":
    main()
