"""An installation of Coracle for one measurement: its own data directory and ports, gone afterwards.

It never touches another installation on the machine: the command line is given its own configuration
file, and what is removed from Docker at the end carries this installation's own label.
"""

import contextlib
import http.client
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "coracle"
TEST_IMAGE = "coracle-test:1"
API = ("127.0.0.1", 17070)
GATEWAY = ("127.0.0.1", 18080)
LABEL = "io.coracle.platform"

# Waits that are over have failed (seconds).
READY_SECONDS = 60
ANSWER_SECONDS = 120
STOP_SECONDS = 60


def say(text):
    """Progress, on standard error."""
    print(f"    {text}", file=sys.stderr, flush=True)


def docker(*arguments, check=True):
    """Runs docker, and answers what it printed."""
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise SystemExit(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def status_of(address, path, host=None, timeout=2.0):
    """The status of one GET on a connection of its own; None when nobody answers."""
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_until(what, condition, seconds, every=0.002):
    """Asks until `condition` holds, and answers the time that it took in seconds."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > seconds:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(every)
    return time.perf_counter() - began


class Process:
    """A process by its number: what /proc says of it."""

    def __init__(self, pid):
        self.pid = pid

    def _fields(self, file):
        lines = pathlib.Path(f"/proc/{self.pid}/{file}").read_text(encoding="ascii").splitlines()
        return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}

    def resident(self):
        """Resident memory in bytes, pages that it shares with others (the program itself) in full."""
        return self._fields("status")["VmRSS"] * 1024

    def proportional(self):
        """Resident memory in bytes, shared pages divided among those who share them."""
        return self._fields("smaps_rollup")["Pss"] * 1024

    def cpu_by_thread(self):
        """Processor time so far in seconds, of each thread that lives now."""
        times = {}
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                times[task.name] = int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        return times

    def cpu_over(self, seconds):
        """Processor time that it takes during so many seconds. A thread that ends meanwhile is not counted."""
        before = self.cpu_by_thread()
        time.sleep(seconds)
        return sum(now - before.get(thread, 0.0) for thread, now in self.cpu_by_thread().items())

    def alive(self):
        try:
            state = pathlib.Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return False
        return state != "Z"

    def stop(self, how=signal.SIGTERM):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)
        wait_until(f"process {self.pid} to end", lambda: not self.alive(), STOP_SECONDS, every=0.01)


class Instance:
    """A running installation; use it in a `with`."""

    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="coracle-bench."))
        self.data = self.home / "data"
        # A variable that points at another installation must not reach this one.
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("CORACLE_")}
        self.environment |= {
            "CORACLE_CONFIG": str(self.home / "cli.toml"),
            "CORACLE_ADMIN_PASSWORD": secrets.token_urlsafe(18),
            "NO_COLOR": "1",
        }
        self.children = []

    def options(self):
        return [
            "--data-dir", str(self.data),
            "--listen", f"{API[0]}:{API[1]}",
            "--http", f"{GATEWAY[0]}:{GATEWAY[1]}",
        ]

    def __enter__(self):
        if not BINARY.exists():
            raise SystemExit(f"{BINARY} is missing: run `cargo build --release -p coracle`")
        for address in (API, GATEWAY):
            if status_of(address, "/", timeout=0.5) is not None:
                raise SystemExit(f"{address[0]}:{address[1]} is taken: stop what listens there")
        try:
            self.run("up", *self.options())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        subprocess.run([BINARY, "down", "--data-dir", str(self.data)], env=self.environment, check=False,
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
        for child in self.children:
            if child.poll() is None:
                child.terminate()
                child.wait(STOP_SECONDS)
        identity = self.data / "platform.id"
        if identity.exists():
            mine = f"label={LABEL}={identity.read_text(encoding='ascii').strip()}"
            for kind, remove in (("ps -aq", "rm -f"), ("network ls -q", "network rm"), ("volume ls -q", "volume rm")):
                found = docker(*kind.split(), "--filter", mine, check=False).split()
                if found:
                    docker(*remove.split(), *found, check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def run(self, *arguments, check=True):
        """Runs the command line; answers its standard output. What it says on failure is shown."""
        done = subprocess.run([BINARY, *arguments], env=self.environment, check=False, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=600)
        if check and done.returncode != 0:
            raise SystemExit(f"coracle {' '.join(arguments)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, *arguments):
        """Starts the command line and does not wait for it."""
        return subprocess.Popen([BINARY, *arguments], env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def apps(self):
        return json.loads(self.run("apps", "--output", "json"))["items"]

    def process(self, role):
        """The control plane (`serve`) or the gateway."""
        return Process(int((self.data / "run" / f"{role}.pid").read_text(encoding="ascii").split()[0]))

    def serve_again(self):
        """Starts the control plane, and answers the seconds from there to the first 200 of /readyz."""
        log = (self.home / "serve.log").open("ab")
        began = time.perf_counter()
        self.children.append(subprocess.Popen([BINARY, "serve", *self.options()], env=self.environment,
                                              stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                              start_new_session=True))
        log.close()
        wait_until("/readyz", lambda: status_of(API, "/readyz") == 200, READY_SECONDS)
        return time.perf_counter() - began

    def _token(self):
        """The token that `up` logged in with, from the command line's own file."""
        def find(value):
            if isinstance(value, dict):
                for key, inner in value.items():
                    if key == "token" and isinstance(inner, str):
                        return inner
                    if (found := find(inner)) is not None:
                        return found
            if isinstance(value, list):
                return next((found for inner in value if (found := find(inner)) is not None), None)
            return None
        return find(tomllib.loads((self.home / "cli.toml").read_text(encoding="utf-8")))

    def delete_app(self, name):
        """Deletes an app and all that belongs to it, and waits until it is gone."""
        path = f"/api/v1/projects/default/apps/{name}"
        token = self._token()

        def ask(method, headers=None):
            connection = http.client.HTTPConnection(*API, timeout=10)
            try:
                connection.request(method, path, headers={"Authorization": f"Bearer {token}"} | (headers or {}))
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read() or b"null")
            finally:
                connection.close()

        for _ in range(20):
            status, app = ask("GET")
            if status == 404:
                return
            status, problem = ask("DELETE", {"If-Match": f'"{app["metadata"]["revision"]}"'})
            if status in (200, 202, 204, 404):
                break
            # Its status was written between the two questions.
            if status not in (409, 412):
                raise SystemExit(f"DELETE {path}: {status} {problem}")
        wait_until(f"{name} to be gone", lambda: ask("GET")[0] == 404, ANSWER_SECONDS, every=0.05)


def answers(name):
    """Does the app answer with 200 through the gateway?"""
    return status_of(GATEWAY, "/healthz", host=f"{name}.localhost") == 200
