# shellcheck shell=bash
# What a script may ask of the machine it runs on: to be root for one command, to have a Debian
# package, to have a Docker daemon that answers. Sourced after say.sh, never run.

# Others' package managers are waited for this long (Debian's unattended upgrades hold the lock
# for some minutes after a machine's first boot).
readonly APT_LOCK_WAIT_SECONDS=600
# A daemon that has not answered by then never will: its log says why.
readonly DOCKER_WAIT_SECONDS=60
readonly DOCKER_SOCKET=/var/run/docker.sock
readonly DOCKERD_LOG=${CORACLE_DOCKERD_LOG:-/var/log/coracle-dockerd.log}

# as_root COMMAND…: runs it as root, by sudo if need be.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        fail "root is needed for: $*" "run this as root, or install sudo and allow it for $(id -un)"
    fi
}

# package_present NAME: succeeds if the Debian package is installed.
package_present() { [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]; }

# need_packages NAME…: installs the Debian packages that are missing; does nothing if none is.
need_packages() {
    local missing=() name log
    for name in "$@"; do package_present "$name" || missing+=("$name"); done
    ((${#missing[@]} == 0)) && return 0
    command -v apt-get >/dev/null ||
        fail "these are missing, and there is no apt-get here: ${missing[*]}" "install them by hand (Coracle is developed on Debian 12)"
    step "Installing ${missing[*]}"
    log=$(mktemp -t coracle-apt.XXXXXX)
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o "DPkg::Lock::Timeout=$APT_LOCK_WAIT_SECONDS")
    # A stale package list is the common reason of a failed installation: fetch it only then.
    if ! as_root "${apt[@]}" install --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; then
        quietly "$log" as_root "${apt[@]}" update ||
            fail "apt-get update failed" "check the network and /etc/apt/sources.list*, then run this again"
        quietly "$log" as_root "${apt[@]}" install --no-install-recommends "${missing[@]}" ||
            fail "apt-get could not install ${missing[*]}" "run 'apt-get -f install', then this again"
    fi
    rm -f "$log"
}

# docker COMMAND…: the command line, whichever is installed.
# Who may not use the daemon's socket becomes root for it.
docker() {
    if ((EUID == 0)) || [[ -n ${DOCKER_HOST:-} || -w $DOCKER_SOCKET ]]; then
        command docker "$@"
    else
        as_root docker "$@"
    fi
}

# docker_answers: succeeds if a daemon answers.
docker_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# dockerd_lives: succeeds if the daemon of the pid file runs (it may not answer yet).
dockerd_lives() {
    local pid
    pid=$(cat /var/run/docker.pid 2>/dev/null) && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]]
}

# need_docker: installs Docker Engine and starts it, unless a daemon answers already. The process
# id of a daemon that was started without a service manager is left in STARTED_DOCKERD_PID.
# shellcheck disable=SC2034 # read by those who source this
need_docker() {
    STARTED_DOCKERD_PID=
    # A daemon that answers is enough, wherever it came from: do not replace somebody's Docker CE.
    if ! command -v docker >/dev/null; then need_packages docker.io; fi
    docker_answers && return 0
    [[ -z ${DOCKER_HOST:-} ]] ||
        fail "no Docker daemon answers at DOCKER_HOST=$DOCKER_HOST" "start it, or unset DOCKER_HOST to use the local one"
    local dockerd
    if ! dockerd=$(PATH=$PATH:/usr/sbin:/sbin command -v dockerd); then
        need_packages docker.io
        dockerd=/usr/sbin/dockerd
    fi
    # docker.io only recommends these, and not every machine can do without.
    if [[ $(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) == Y ]]; then need_packages apparmor; fi
    if [[ ! -e /sys/fs/cgroup/cgroup.controllers && ! -d /sys/fs/cgroup/memory ]]; then
        need_packages cgroupfs-mount
        as_root cgroupfs-mount
    fi
    step "Starting the Docker daemon"
    if [[ -d /run/systemd/system ]]; then
        as_root systemctl start docker ||
            fail "systemctl could not start docker" "see: journalctl -u docker -n 50"
    elif ! dockerd_lives; then
        # A machine that went down hard leaves the file; dockerd refuses to start if some other process has that number now.
        as_root rm -f /var/run/docker.pid
        # Its own session: it must outlive this script and the terminal.
        # shellcheck disable=SC2016 # expanded by the inner shell
        as_root bash -c 'setsid "$1" >>"$2" 2>&1 </dev/null &' start "$dockerd" "$DOCKERD_LOG"
    fi
    local deadline=$((SECONDS + DOCKER_WAIT_SECONDS))
    until docker_answers; do
        ((SECONDS < deadline)) ||
            fail "the Docker daemon did not answer within $DOCKER_WAIT_SECONDS s" "see $DOCKERD_LOG, or: journalctl -u docker -n 50"
        sleep 0.2
    done
    if [[ ! -d /run/systemd/system && -r /var/run/docker.pid ]]; then
        STARTED_DOCKERD_PID=$(cat /var/run/docker.pid)
    fi
    note "Docker $(docker version --format '{{.Server.Version}}')"
}

# need_docker_group SCRIPT ARGUMENT…: for programs that speak to the daemon themselves, and cannot
# become root for it as `docker` above does. Puts whoever runs this into the socket's group, and
# starts SCRIPT anew with that right; returns where the right is there already.
need_docker_group() {
    if [[ $EUID == 0 || -n ${DOCKER_HOST:-} || -w $DOCKER_SOCKET ]]; then return 0; fi
    [[ -z ${CORACLE_IN_DOCKER_GROUP:-} ]] ||
        fail "$(id -un) may not use $DOCKER_SOCKET" "add yourself to its group and log in again: sudo usermod -aG docker $(id -un)"
    step "Adding $(id -un) to the group docker (who is in it can become root through Docker)"
    as_root usermod -aG docker "$(id -un)"
    CORACLE_IN_DOCKER_GROUP=1 exec sg docker -c "$(printf '%q ' "$@")"
}
