"""From `coracle deploy --image` of a local image to the first 200 through the gateway, beside `docker run` of
the same image and polling its address; and a deploy of a source in which nothing changed, beside `docker build`
of the same folder. The two of a pair take turns, so that a busy machine is busy for both.
"""

import argparse
import os
import subprocess
import tempfile
import time

from instance import ANSWER_SECONDS, BINARY, Instance, TEST_IMAGE, answers, docker, say, status_of, wait_until
from report import compare, keep, line, spread


def deploy_image(instance, name):
    """Seconds to the first 200, and to the end of the command."""
    began = time.perf_counter()
    command = instance.start("deploy", "--image", TEST_IMAGE, "--app", name)
    wait_until(f"{name} to answer", lambda: answers(name) or command.poll() not in (None, 0), ANSWER_SECONDS)
    first = time.perf_counter() - began
    _, said = command.communicate(timeout=ANSWER_SECONDS)
    if command.returncode != 0:
        raise SystemExit(f"deploy of {name} failed:\n{said}")
    return first, time.perf_counter() - began


def docker_run():
    """Seconds from `docker run` to the first 200, by a person who polls."""
    began = time.perf_counter()
    container = docker("run", "-d", "--label", "io.coracle.bench=1", TEST_IMAGE)
    try:
        address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", container)
        wait_until("docker run to answer", lambda: status_of((address, 8080), "/healthz") == 200, ANSWER_SECONDS)
        return time.perf_counter() - began
    finally:
        docker("rm", "-f", container, check=False)


def timed(command, environment):
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command}: {done.stderr}")
    return time.perf_counter() - began


def buildkit():
    """A command line and environment that build with BuildKit, as Coracle does: Debian's own can without a plugin."""
    has_plugin = subprocess.run(["docker", "buildx", "version"], check=False, capture_output=True).returncode == 0
    program = "docker" if has_plugin or not os.access("/usr/bin/docker", os.X_OK) else "/usr/bin/docker"
    return program, os.environ | {"DOCKER_BUILDKIT": "1"}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    rounds = arguments.parse_args().rounds

    with Instance() as instance, tempfile.TemporaryDirectory(prefix="coracle-bench-source.") as source:
        say(f"{rounds} rounds of deploy --image and docker run")
        # The very first of each pays for what later ones find made: the project's network, warm files.
        deploy_image(instance, "warm")
        docker_run()
        first, whole, peers = [], [], []
        for number in range(rounds):
            name = f"bench-{number}"
            to_answer, to_end = deploy_image(instance, name)
            first.append(to_answer)
            whole.append(to_end)
            peers.append(docker_run())
            instance.delete_app(name)
        compare("deploy --image, to the first 200 through the gateway", first, "docker run and polling", peers)
        line("deploy --image, to the end of the command", "", spread(whole))

        say(f"{rounds} rounds of a deploy without a change")
        with open(os.path.join(source, "Dockerfile"), "w", encoding="utf-8") as file:
            file.write(f"FROM {TEST_IMAGE}\nCOPY index.html /www/index.html\n")
        with open(os.path.join(source, "index.html"), "w", encoding="utf-8") as file:
            file.write("unchanged\n")
        program, environment = buildkit()
        build = [program, "build", "-q", "-t", "coracle-bench:unchanged", source]
        deploy = [BINARY, "deploy", source, "--app", "unchanged"]
        timed(deploy, instance.environment)
        timed(build, environment)
        ours, builds = [], []
        for _ in range(rounds):
            ours.append(timed(deploy, instance.environment))
            builds.append(timed(build, environment))
        docker("rmi", "-f", "coracle-bench:unchanged", check=False)
        compare("deploy of a source with nothing changed", ours, "docker build (BuildKit) of it, alone", builds)
        keep("deploy", {"image_first_200": first, "image_command": whole, "docker_run": peers,
                        "unchanged": ours, "unchanged_docker_build": builds})


if __name__ == "__main__":
    main()
