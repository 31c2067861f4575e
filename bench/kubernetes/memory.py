"""Resident memory of control plane and gateway with no app and with many, each with a pod in the cluster.

So many pods fit no cluster for tests, so they are hollow: nodes that are only objects, and pods that run only by their
status, which this program writes as a kubelet would. No other pod gets there: the nodes are tainted, and the pods,
which want more memory than any real node has, are bound to them by this program. To the platform under measurement they
are pods like any other.
"""

import concurrent.futures
import contextlib
import http.client
import itertools
import json
import pathlib
import secrets
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "platform"))
import instance  # noqa: E402
from instance import Instance, say, wait_until  # noqa: E402
from report import keep, line, megabytes  # noqa: E402

NODES = 5
MEMORY = "4Ti"
IMAGE = "registry.invalid/hollow@sha256:" + "0" * 64
# A node tells that it lives this often.
BEAT_SECONDS = 4
SETTLE_SECONDS = 60
READY_SECONDS = 900
DEPLOYS_AT_ONCE = 8
JSON = {"Content-Type": "application/json"}
MERGE = {"Content-Type": "application/strategic-merge-patch+json"}


def free():
    """An address that nobody listens on: a platform may be measured on this machine at the same time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


instance.API, instance.GATEWAY, PROXY = free(), free(), free()


def now(fraction=""):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + fraction + "Z"


def ask(address, method, path, body=None, headers=JSON, most=30):
    """One request; answers status and JSON."""
    connection = http.client.HTTPConnection(*address, timeout=most)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), dict(headers))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def cluster(method, path, body=None, headers=JSON):
    return ask(PROXY, method, path, body, headers)


class Hollow:
    """Nodes that are only objects; use it in a `with`."""

    def __init__(self, namespace):
        self.names = [f"hollow-{secrets.token_hex(3)}-{number}" for number in range(NODES)]
        self.namespace = namespace
        self.end = threading.Event()
        self.addresses = (f"10.251.{high}.{low}" for high in range(256) for low in range(1, 255))
        self.next = itertools.cycle(self.names)
        self.proxy = None
        self.threads = []

    def __enter__(self):
        self.proxy = subprocess.Popen(["kubectl", "proxy", f"--port={PROXY[1]}"], stdout=subprocess.DEVNULL)
        wait_until("kubectl proxy", self.answers, 20, every=0.05)
        for name in self.names:
            labels = {"kubernetes.io/hostname": name, "coracle.io/bench": "hollow"}
            taints = [{"key": "coracle.io/bench", "value": "hollow", "effect": "NoSchedule"}]
            cluster("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}})
            self.beat(name)
        for work in (self.live, self.run):
            self.threads.append(threading.Thread(target=work, daemon=True))
            self.threads[-1].start()
        return self

    def __exit__(self, *_):
        self.end.set()
        for thread in self.threads:
            thread.join(60)
        for name in self.names:
            cluster("DELETE", f"/api/v1/nodes/{name}")
            cluster("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")
        self.proxy.terminate()
        self.proxy.wait(10)

    @staticmethod
    def answers():
        with contextlib.suppress(OSError, ValueError):
            return cluster("GET", "/version")[0] == 200
        return False

    @staticmethod
    def beat(name):
        room = {"cpu": "1000", "memory": "1000Ti", "pods": "1000"}
        ready = {"type": "Ready", "status": "True", "reason": "Hollow", "lastHeartbeatTime": now(), "lastTransitionTime": now()}
        cluster("PATCH", f"/api/v1/nodes/{name}/status", {"status": {"capacity": room, "allocatable": room, "conditions": [ready]}}, MERGE)
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now(".000000")}
        if cluster("PATCH", f"{leases}/{name}", {"spec": spec}, MERGE)[0] == 404:
            cluster("POST", leases, {"metadata": {"name": name}, "spec": spec})

    def live(self):
        while not self.end.wait(BEAT_SECONDS):
            for name in self.names:
                # A cluster that is busy may be late with an answer; there is a next time.
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self.beat(name)

    def run(self):
        """What a scheduler and kubelets do, for the pods of this measurement alone."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            while not self.end.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    _, pods = cluster("GET", f"/api/v1/namespaces/{self.namespace}/pods")
                    list(pool.map(self.serve, pods["items"]))
                self.end.wait(0.2)

    def serve(self, pod):
        meta, path = pod["metadata"], f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        if meta.get("deletionTimestamp"):
            cluster("DELETE", path, {"gracePeriodSeconds": 0})
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": next(self.next)}
            cluster("POST", f"{path}/binding", {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": target})
        elif pod["status"]["phase"] == "Pending":
            at, address = now(), next(self.addresses)
            conditions = [{"type": kind, "status": "True", "lastTransitionTime": at}
                          for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
            container = {"name": "main", "ready": True, "started": True, "restartCount": 0, "image": IMAGE, "imageID": f"docker-pullable://{IMAGE}",
                         "containerID": "docker://" + secrets.token_hex(32), "state": {"running": {"startedAt": at}}}
            status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": "10.251.255.1", "startTime": at,
                      "conditions": conditions, "containerStatuses": [container]}
            cluster("PATCH", f"{path}/status", {"status": status}, MERGE)


class OnCluster(Instance):
    def options(self):
        return [*super().options(), "--engine", "kubernetes"]


def settle(processes):
    """Waits until both together take less than 2 % of a processor over two seconds."""
    for _ in range(SETTLE_SECONDS // 2):
        if sum(process.cpu_over(1) for process in processes) < 0.02:
            return


def memory(platform, what):
    control, gateway = processes = platform.process("serve"), platform.process("gateway")
    settle(processes)
    figures = {"control": control.resident(), "gateway": gateway.resident()}
    line(f"resident memory {what}, control plane + gateway", megabytes(sum(figures.values())),
         f"{megabytes(figures['control'])} + {megabytes(figures['gateway'])}")
    return figures


def main():
    apps = int(sys.argv[1])
    project = f"m{secrets.token_hex(4)}"
    with Hollow(f"coracle-{project}") as hollow, OnCluster() as platform:
        token = {"Authorization": f"Bearer {platform._token()}"}

        def api(method, path, body=None):
            status, answer = ask(instance.API, method, f"/api/v1/projects{path}", body, JSON | token, most=120)
            if status >= 300:
                raise SystemExit(f"{method} {path}: {status} {answer}")
            return answer

        figures = {"apps": apps, "empty": memory(platform, "with no app")}
        api("POST", "", {"metadata": {"name": project}, "spec": {}})
        try:
            say(f"deploying {apps} apps")
            config = {"processes": {"web": {"memory": MEMORY, "port": 8080}}, "env": {"GREETING": "hello"}}
            with concurrent.futures.ThreadPoolExecutor(DEPLOYS_AT_ONCE) as pool:
                list(pool.map(lambda number: api("POST", f"/{project}/apps/app-{number}/releases?create=true",
                                                 {"image": IMAGE, "config": config}), range(apps)))

            def running():
                found, after = 0, ""
                while True:
                    page = api("GET", f"/{project}/apps?limit=200{after}")
                    found += sum(app["status"]["phase"] == "running" for app in page["items"])
                    if not page.get("next"):
                        return found == apps
                    after = f"&after={page['next']}"

            took = wait_until("all apps to run", running, READY_SECONDS, every=1)
            say(f"all run {took:.0f} s after the last was asked for")
            figures["full"] = memory(platform, f"with {apps} apps")
            # What it needs, without what the deploys left behind.
            platform.process("serve").stop()
            platform.run("up", *platform.options())
            figures["restarted"] = memory(platform, "the same, started anew")
            growth = figures["restarted"]["control"] - figures["empty"]["control"]
            line("  an app more in the control plane", f"{growth / apps / 1e3:.0f} kB")
            keep("kubernetes-memory", figures)
        finally:
            platform.run("down", "--data-dir", str(platform.data), check=False)
            identity = (platform.data / "platform.id").read_text(encoding="ascii").strip()
            subprocess.run(["kubectl", "delete", "namespaces", "--selector", f"coracle.io/platform={identity}", "--wait=false"],
                           check=False, stdout=subprocess.DEVNULL)
            # Whoever runs only by its status ends only by it, too.
            wait_until("the pods to go", lambda: not [space for space in cluster("GET", "/api/v1/namespaces")[1]["items"]
                                                      if space["metadata"]["name"] == hollow.namespace], 300, every=1)


main()
