#!/usr/bin/env bash
# Create or complete the environment:  requirements/install.sh light|full      (see requirements/README.md)
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
profile=${1:-light}
python=${PYTHON:-python3}
venv=${VENV:-.venv}
cache=${OPENMSRA_CACHE:-${XDG_CACHE_HOME:-${HOME:-${TMPDIR:-/tmp}}/.cache}/openmsra}
mmcv_version=2.3.6
started=$SECONDS

fail() { echo "error: $*" >&2; exit 2; }
say() { printf '[%3ds] %s\n' $(( SECONDS - started )) "$*"; }
in_venv() { "$venv/bin/python" "$@"; }
has_operators() { in_venv -c 'import torch, mmcv._ext' >/dev/null 2>&1; }
# mmcv's operators import on a CPU build too; on a machine with a GPU they must have been compiled for it
has_gpu_operators() { in_venv -c 'import sys, torch, mmcv._ext as ops; sys.exit(ops.get_compiling_cuda_version() == "not available")' >/dev/null 2>&1; }
has_nvcc() { [[ -x ${CUDA_HOME:-/usr/local/cuda}/bin/nvcc ]] || command -v nvcc >/dev/null 2>&1; }
has_gpu() { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; }
# FORCE_CUDA=1, as mmcv knows it, is for where the GPU is not visible yet: an image, a cluster's login node
wants_cuda() { [[ ${FORCE_CUDA:-0} == 1 ]] || has_gpu; }
why_cuda() { has_gpu && echo "this machine has an NVIDIA GPU" || echo "FORCE_CUDA=1 asks for CUDA"; }

[[ $profile == light || $profile == full ]] || fail "profile '$profile' is neither light nor full."
case ${OPENMSRA_INSTALLER:-auto} in
    auto|uv|pip) ;;
    *) fail "OPENMSRA_INSTALLER is '$OPENMSRA_INSTALLER'; it may be auto, uv or pip." ;;
esac

# --- what can be known at once is said at once -----------------------------------------------------------------------
command -v "$python" >/dev/null 2>&1 || fail "there is no '$python'; install Python 3.10 to 3.13 or set PYTHON=."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "'$python' does not run."
case $version in
    3.10|3.11|3.12|3.13) ;;
    *) fail "'$python' is Python $version, but openmsra needs 3.10 to 3.13; set PYTHON= to one of these." ;;
esac
if [[ -x $venv/bin/python ]]; then
    old=$(in_venv -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) \
        || fail "the environment '$venv' is broken (its Python does not run); remove it or set VENV= to another folder."
    [[ $old == "$version" || -z ${PYTHON:-} ]] \
        || fail "the environment '$venv' holds Python $old, not $version; set VENV= to another folder."
    version=$old
else
    "$python" -c 'import venv, ensurepip' 2>/dev/null \
        || fail "'$python' cannot make environments; install its venv module (Debian: apt install python$version-venv)."
fi
key=$(cat requirements/*.txt requirements/install.sh setup.py | cksum | cut -d' ' -f1)-$version
stamp_of() { echo "$venv/.openmsra-$1"; }
current() { [[ -f $(stamp_of "$1") && $(<"$(stamp_of "$1")") == "$key" ]]; }
if current "$profile" || { [[ $profile == light ]] && current full; }; then
    say "the $profile environment in $venv is up to date"
    exit 0
fi
operators=$(wants_cuda && [[ -z ${OPENMSRA_CPU_OPERATORS:-} ]] && echo cuda || echo cpu)
wheel_folder() {  # the compiled wheel fits one version of torch (with its build) and Python, and a machine with or without a GPU
    local with=
    [[ $operators == cuda ]] && with=-cuda
    echo "$cache/mmcv-$mmcv_version$with-torch-$(in_venv -c 'import torch; print(torch.__version__)')-py$version-$(uname -m)"
}
operators_fit() { if [[ $operators == cuda ]]; then has_gpu_operators; else has_operators; fi; }
if [[ $profile == full ]]; then
    command -v "${CXX:-c++}" >/dev/null 2>&1 \
        || fail "there is no C++ compiler (${CXX:-c++}), which mmcv's operators need; install one (Debian: apt install g++)" \
                "or use the light profile."
    [[ $operators == cpu ]] || has_nvcc \
        || fail "$(why_cuda) but there is no nvcc, which compiles mmcv's operators for it: install the CUDA toolkit of" \
                "torch's version (python -c 'import torch; print(torch.version.cuda)') and set CUDA_HOME= to it, use the light" \
                "profile, or set OPENMSRA_CPU_OPERATORS=1 (detection then runs on the CPU only)."
    "$python" -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_paths()["include"], "Python.h").is_file())' \
        || fail "the headers of '$python' are missing, which mmcv's operators need (Debian: apt install python$version-dev)."
fi
parent=$venv
while [[ ! -d $parent ]]; do parent=$(dirname "$parent"); done
need=${OPENMSRA_NEED_MB:-$(wants_cuda && echo 12000 || echo 4000)}
free=$(df -Pm "$parent" | awk 'NR == 2 {print $4}')
(( free >= need )) || fail "$parent has $free MB left, but the environment needs $need MB; free some or set VENV=" \
                           "to a folder on another disk."
exec 9>"${TMPDIR:-/tmp}/openmsra-install-$(id -u)-$(realpath -m "$venv" | cksum | cut -d' ' -f1).lock"
flock -n 9 || { say "another installation into $venv is running; waiting for it"; flock 9; }
current "$profile" && { say "it has finished"; exit 0; }

# --- the environment -------------------------------------------------------------------------------------------------
if [[ ! -x $venv/bin/python ]]; then
    say "creating $venv with Python $version"
    "$python" -m venv "$venv" || fail "creating '$venv' failed; its messages are above."
fi
log=$venv/install.log
: >"$log"
pip() { in_venv -m pip --disable-pip-version-check "$@"; }
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
pip download -q --no-deps --no-cache-dir --retries 0 --timeout 15 -d "$probe" six==1.17.0 >>"$log" 2>&1 \
    || fail "the package index cannot be reached ($(grep -am1 -oiE 'connection[^(]*|no matching distribution[^(]*' "$log" || echo "see $log")):" \
            "check the network and pip's configuration (pip config list)."

run_logged() {  # run_logged "what" command...: one line, a sign of life every 15 s
    local what=$1
    shift
    say "$what"
    "$@" >>"$log" 2>&1 &
    local job=$! ticks=0
    while kill -0 "$job" 2>/dev/null; do
        sleep 0.2
        (( ++ticks % 75 )) || say "  ... $(last_lines | tail -n 1 | cut -c1-90)"
    done
    wait "$job"
}
last_lines() { tail -c 2000 "$log" | tr '\r' '\n' | grep -av '^ *$\|WARNING'; }
step() { run_logged "$@" || { tail -n 15 "$log" >&2; fail "$1: failed; the end of $log is above."; }; }

# uv installs several times faster and takes the build of torch that fits this machine's driver; it does not read pip's configuration,
# so that pip does the work where that says where packages are, and wherever uv fails
uv=() chosen=${OPENMSRA_INSTALLER:-auto}
find_uv() {
    # no pipe: a grep that has seen enough would end pip, and the pipe with it
    if [[ $chosen == auto ]] && grep -qE '[.](index-url|extra-index-url|find-links|no-index)=' <<<"$(pip config list 2>/dev/null)"; then
        say "pip is configured to look for packages in places of its own: installing with pip"
    elif command -v uv >/dev/null 2>&1; then
        uv=(uv)
    elif pip install "${constraint[@]}" uv >>"$log" 2>&1; then
        uv=(in_venv -m uv)
    else
        say "uv is not to be had: installing with pip"
    fi
}
uv_install() {
    UV_HTTP_RETRIES=${UV_HTTP_RETRIES:-1} UV_NO_PROGRESS=1 "${uv[@]}" pip install --python "$venv/bin/python" "$@"
}
install() {  # install "what" arguments...: with uv or, once that has failed, with pip
    if (( ${#uv[@]} )); then
        run_logged "$1" uv_install "${@:2}" && return
        say "uv could not ($(last_lines | grep -aoiE 'error:.*|failed to.*' | tail -n 1 | cut -c1-80)): going on with pip"
        uv=()
    fi
    local arguments=()
    for argument in "${@:2}"; do
        [[ $argument == --torch-backend=* ]] || arguments+=("$argument")  # uv's alone
    done
    step "$1" pip install "${arguments[@]}"
}
constraint=(-c requirements/constraints.txt)
[[ $chosen == pip ]] || find_uv
install "build tools" "${constraint[@]}" setuptools wheel packaging psutil ninja
build=(${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"})
(( ! ${#uv[@]} || ${#build[@]} )) || build=("--torch-backend=${UV_TORCH_BACKEND:-auto}")
install "torch (the largest download)" "${constraint[@]}" ${build[@]+"${build[@]}"} torch torchvision
if wants_cuda && [[ $(in_venv -c 'import torch; print(torch.version.cuda)') == None ]]; then
    fail "$(why_cuda), but a CPU build of torch was installed; unset TORCH_INDEX_URL or pip's find-links."
fi
lists=(-r requirements/runtime.txt -r requirements/papers.txt)
[[ $profile == full ]] && lists+=(-r requirements/tests.txt -r requirements/export.txt -r requirements/benchmarks.txt)
install "libraries" "${constraint[@]}" "${lists[@]}"
unbound=(-r requirements/nodeps.txt)
[[ $profile == full ]] && unbound+=(-r requirements/benchmarks-nodeps.txt)
install "OpenMMLab packages" --no-deps "${unbound[@]}"

build_wheel() {  # into the cache by a rename, so that no half written wheel is ever found
    local target=$1 build PATH=$PATH
    PATH=$(realpath "$venv")/bin:$PATH  # ninja is there, without which one file is compiled at a time
    build=$(mktemp -d "$cache/build-XXXXXX")
    FORCE_CUDA=$([[ $operators == cuda ]] && echo 1 || echo 0) CFLAGS=-g0 MAX_JOBS=$(nproc) pip wheel --no-cache-dir --no-build-isolation --no-deps \
        -w "$build" "onedl-mmcv==$mmcv_version" || { rm -rf "$build"; return 1; }  # nothing is kept of it
    [[ -d $target ]] || mv "$build" "$target"
    rm -rf "$build"
}
if [[ $profile == full ]]; then
    if ! operators_fit; then
        wheel=$(wheel_folder)
        mkdir -p "$cache"
        if [[ ! -d $wheel ]]; then
            step "compiling mmcv's operators, once, about 7 minutes (no wheel is published; the result is kept in $cache)" \
                build_wheel "$wheel"
        fi
        step "mmcv with operators" pip install --no-deps --force-reinstall "$wheel"/*.whl
        if ! operators_fit; then
            rm -rf "$wheel"  # never taken from the cache again
            has_operators && fail "mmcv's operators were compiled without CUDA although $(why_cuda): is nvcc's version" \
                                  "torch's ($(in_venv -c 'import torch; print(torch.version.cuda)'))? The end of $log says more."
            fail "mmcv was installed but its operators do not import; the end of $log says more. Try again."
        fi
    fi
elif ! in_venv -c 'import mmcv' >/dev/null 2>&1; then
    step "mmcv without operators" pip install --no-deps "onedl-mmcv==$mmcv_version"
fi
step "openmsra itself" pip install --no-deps --no-build-isolation -e .
echo "$key" >"$(stamp_of "$profile")"
say "the $profile environment in $venv is ready"
