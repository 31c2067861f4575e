"""What the platform costs while nothing happens: resident memory of control plane and gateway with 0 and with
50 apps, processor time over a minute with 50 apps, and the time from the control plane's start to /readyz
with 50 apps. The peer for memory is the Docker daemon on the same machine, in the same moment.
"""

import argparse
import signal
import statistics
from concurrent.futures import ThreadPoolExecutor

from instance import Instance, Process, TEST_IMAGE, answers, docker, say, wait_until
from report import keep, line, megabytes, seconds, spread

# Long enough for what a deploy left to do (draining, writing back, sweeping) to be done.
SETTLE_SECONDS = 30
# A thread per deploy command; the engine bounds its own starts.
DEPLOYS_AT_ONCE = 4


def settle(instance):
    """Waits until control plane and gateway together take less than 2 % of a processor over two seconds, SETTLE_SECONDS at most."""
    processes = [instance.process("serve"), instance.process("gateway")]
    for _ in range(SETTLE_SECONDS // 4):
        if sum(process.cpu_over(2) for process in processes) < 0.04:
            return


def memory(instance, apps):
    """Prints and answers the memory of both processes."""
    settle(instance)
    control, gateway = instance.process("serve"), instance.process("gateway")
    figures = {
        "control": control.resident(), "gateway": gateway.resident(),
        "control_pss": control.proportional(), "gateway_pss": gateway.proportional(),
    }
    together = figures["control"] + figures["gateway"]
    line(f"resident memory with {apps} apps, control plane + gateway", megabytes(together),
         f"{megabytes(figures['control'])} + {megabytes(figures['gateway'])}; "
         f"shared pages counted once: {megabytes(figures['control_pss'] + figures['gateway_pss'])}")
    daemon = docker_daemon()
    if daemon is not None:
        figures["dockerd"] = daemon.resident()
        line("  beside it: dockerd", megabytes(figures["dockerd"]))
        line("  ratio", f"{together / figures['dockerd']:.2f}")
    return figures


def docker_daemon():
    try:
        with open("/var/run/docker.pid", encoding="ascii") as file:
            process = Process(int(file.read()))
        process.resident()
        return process
    except (OSError, ValueError, KeyError):
        return None


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--apps", type=int, default=50)
    arguments.add_argument("--seconds", type=int, default=60, help="how long processor time is counted")
    arguments.add_argument("--starts", type=int, default=9, help="how often the control plane is started")
    chosen = arguments.parse_args()
    figures = {"apps": chosen.apps}

    with Instance() as instance:
        figures["memory_empty"] = memory(instance, 0)

        say(f"deploying {chosen.apps} apps")
        names = [f"idle-{number}" for number in range(chosen.apps)]
        with ThreadPoolExecutor(DEPLOYS_AT_ONCE) as pool:
            list(pool.map(lambda name: instance.run("deploy", "--image", TEST_IMAGE, "--app", name), names))
        running = [app for app in instance.apps() if app["status"]["phase"] == "running"]
        if len(running) != chosen.apps:
            say(f"only {len(running)} of {chosen.apps} apps run (is there more than one page of them?)")
        figures["memory_apps"] = memory(instance, chosen.apps)

        say(f"counting processor time for {chosen.seconds} s")
        with ThreadPoolExecutor(2) as pool:
            used = pool.map(lambda role: instance.process(role).cpu_over(chosen.seconds), ["serve", "gateway"])
            control, gateway = used
        figures["cpu"] = {"control": control, "gateway": gateway, "seconds": chosen.seconds}
        line(f"processor time of the idle control plane, {chosen.apps} apps", f"{100 * control / chosen.seconds:.2f} %",
             f"of one core over {chosen.seconds} s")
        line("  the gateway", f"{100 * gateway / chosen.seconds:.2f} %")

        for how, word in ((signal.SIGTERM, "SIGTERM"), (signal.SIGKILL, "SIGKILL")):
            say(f"{chosen.starts} starts after {word}")
            starts = []
            for _ in range(chosen.starts):
                instance.process("serve").stop(how)
                starts.append(instance.serve_again())
                # Applications served meanwhile, and the new control plane has caught up before it is stopped again.
                wait_until("an app to answer", lambda: answers(names[0]), 10)
                settle(instance)
            figures[f"starts_{word}"] = starts
            line(f"start of the control plane to /readyz, {chosen.apps} apps, after {word}",
                 seconds(statistics.median(starts)), spread(starts))
        figures["memory_restarted"] = memory(instance, chosen.apps)
        containers = docker("ps", "-q", "--filter", f"label=io.coracle.platform={(instance.data / 'platform.id').read_text().strip()}").split()
        line("containers afterwards", str(len(containers)), f"of {chosen.apps}")
        keep("idle", figures)


if __name__ == "__main__":
    main()
