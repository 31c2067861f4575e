"""Which functions an idle platform runs: writes crates/coracle/layout.ld, by which the linker puts them side by side.

The kernel maps a program in pieces of 64 kB around each page that is touched: where what runs lies between what does
not, an idle process has most of the program in its memory. Needs valgrind, and the program with its symbols and without
a layout (valgrind knows one section of code):

    CORACLE_LAYOUT=none cargo rustc --release --locked -p coracle --bin coracle -- -C strip=none
    python3 bench/platform/order.py

Functions are named without the hashes that the compiler puts into a name, since they change with every version of a
dependency. So the instances of a generic function share one name, and are taken together or not at all. A name that is
gone is ignored by the linker: an old list costs memory and nothing else.
"""

import bisect
import collections
import re
import shutil
import signal
import subprocess
import time

from instance import API, BINARY, GATEWAY, ROOT, TEST_IMAGE, Instance, answers, say, status_of, wait_until

LAYOUT = ROOT / "crates/coracle/layout.ld"
# Long enough for a heartbeat of the gateway's feed (15 s).
IDLE_SECONDS = 20
# A start runs thousands of functions.
FEWEST = 1000
# Under valgrind everything takes long.
START_SECONDS = 300


class Traced(Instance):
    """An installation whose processes run under valgrind."""

    def __enter__(self):
        super().__enter__()
        self.run("down", "--data-dir", str(self.data))
        # As new, but for what `up` remembers.
        settings = self.data / "coracle-settings.toml"
        remembered = settings.read_bytes()
        shutil.rmtree(self.data)
        self.data.mkdir(mode=0o700)
        settings.write_bytes(remembered)
        self.traces = self.home / "traces"
        self.traces.mkdir()
        return self

    def start_traced(self, role, name):
        """Starts the control plane or the gateway; answers the process."""
        log = (self.home / f"{role}.log").open("ab")
        child = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--dump-instr=yes", f"--callgrind-out-file={self.traces / name}",
             BINARY, role, *self.options()],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        self.children.append(child)
        # A gateway without applications answers with 404.
        address, path, wanted = (API, "/readyz", 200) if role == "serve" else (GATEWAY, "/", 404)
        wait_until(role, lambda: status_of(address, path) == wanted, START_SECONDS, every=0.2)
        return child

    def log_in(self):
        subprocess.run([BINARY, "login", f"http://{API[0]}:{API[1]}", "--user", "admin", "--password-stdin"],
                       env=self.environment, input=self.environment["CORACLE_ADMIN_PASSWORD"], text=True, check=True,
                       stdout=subprocess.DEVNULL, timeout=START_SECONDS)


def stop(*children):
    for child in children:
        child.send_signal(signal.SIGTERM)
        child.wait(START_SECONDS)


def trace(instance):
    """Runs the platform twice: at rest from its first start, and with an app from its first deploy to its end."""
    say("a first start, and rest")
    rest = [instance.start_traced("serve", "serve-first"), instance.start_traced("gateway", "gateway-rest")]
    instance.log_in()
    time.sleep(IDLE_SECONDS)
    stop(*rest)
    say("a second start, and an app")
    work = [instance.start_traced("serve", "serve-second"), instance.start_traced("gateway", "gateway-work")]
    instance.run("deploy", "--image", TEST_IMAGE, "--app", "ordered")
    wait_until("the app to answer", lambda: answers("ordered"), START_SECONDS, every=0.2)
    instance.run("apps")
    instance.delete_app("ordered")
    time.sleep(IDLE_SECONDS)
    stop(*work)


def executed(path, program):
    """The addresses in `program` at which instructions ran, from a trace of callgrind's."""
    found, objects, current, address = set(), {}, "", 0
    for line in path.open(encoding="utf-8", errors="replace"):
        if named := re.match(r"(c?ob)=\((\d+)\)(?: (.*))?", line):
            kind, number, name = named.groups()
            if name:
                objects[number] = name.strip()
            if kind == "ob":
                current = objects[number]
        elif counted := re.match(r"(0x[0-9a-f]+|[+-]\d+|\*) ", line):
            step = counted[1]
            if step.startswith("0x"):
                address = int(step, 16)
            elif step != "*":
                address += int(step)
            if current == program:
                found.add(address)
    return found


def pattern(name):
    """A symbol's name without what is this build's alone, as a pattern for the linker."""
    if name.startswith("_R"):
        # Rust's newer names, in which the standard library comes: each crate with a hash before it.
        return re.sub(r"Cs[0-9A-Za-z]+_(?=\d)", "Cs*_", name.split(".")[0]) + "*"
    if name.startswith("_ZN"):
        return re.sub(r"17h[0-9a-f]{16}E.*", "17h*", name)
    return name.split(".")[0]


class Functions:
    """The program's functions: where they are, how large, and the patterns that they match."""

    def __init__(self, program):
        listed = subprocess.run(["nm", program], check=True, capture_output=True, text=True).stdout.splitlines()
        rows = [line.split(None, 2) for line in listed]
        starts = {int(row[0], 16): row[2] for row in rows if len(row) == 3 and row[1] in "tTwW"}
        if len(starts) < 1000:
            raise SystemExit(f"{program} has no symbols: build it with -C strip=none")
        self.starts = sorted(starts)
        ends = [*self.starts[1:], self.starts[-1]]
        self.size = {start: end - start for start, end in zip(self.starts, ends)}
        self.name = {start: pattern(name) for start, name in starts.items()}
        self.instances = collections.defaultdict(list)
        for start, name in self.name.items():
            self.instances[name].append(start)

    def of(self, addresses):
        """The functions in which the addresses lie."""
        return {self.starts[bisect.bisect_right(self.starts, address) - 1] for address in addresses}


def choose(functions, sets):
    """The names to put side by side, in order. `sets` are sets of functions, what matters most first.

    First what runs with most of its instances, then the generic functions of which few instances run: they would lie
    between the others.
    """
    ran = set().union(*sets)
    order = []
    for name in {functions.name[start] for start in ran}:
        instances = functions.instances[name]
        touched = sum(functions.size[start] for start in instances if start in ran)
        dense = 3 * touched >= sum(functions.size[start] for start in instances)
        absent = tuple(not any(start in some for start in instances) for some in sets)
        order.append((not dense, absent, name))
    return [name for _, _, name in sorted(order)]


def main():
    functions = Functions(BINARY)
    with Traced() as instance:
        trace(instance)
        ran = {path.name: functions.of(executed(path, str(BINARY))) for path in instance.traces.iterdir()}
    rest = ran["serve-first"] & ran["serve-second"]
    if len(rest) < FEWEST:
        raise SystemExit(f"only {len(rest)} functions seen in two starts: build the program as the head of this file says")
    sets = [ran["gateway-rest"], rest, ran["gateway-work"], ran["serve-first"] | ran["serve-second"]]
    names = choose(functions, sets)
    patterns = "".join(f"    *(.text.{name})\n" for name in names)
    LAYOUT.write_text(
        "/* What an idle platform runs, side by side. Made by bench/platform/order.py; not to be changed by hand. */\n"
        # What the compiler takes for unlikely is little, and some of it runs at every start.
        f"SECTIONS\n{{\n  .text.resident :\n  {{\n    *(.text.unlikely.*)\n{patterns}  }}\n}}\nINSERT AFTER .text;\n",
        encoding="utf-8")
    inside = {start for name in names for start in functions.instances[name]}
    ever = set().union(*sets)
    for label, some in (("ran", ever), ("taken", inside), ("ran and not taken", ever - inside)):
        say(f"{label}: {len(some)} functions, {sum(functions.size[start] for start in some) // 1024} kB")


if __name__ == "__main__":
    main()
