#!/usr/bin/env bash
# Create or complete the environment:  requirements/install.sh light|full      (see requirements/README.md)
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-light}
venv=${VENV:-.venv}
cache=${OPENMSRA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/openmsra}
mmcv_version=2.3.6
torch_version=$(sed -n 's/^torch==//p' requirements/constraints.txt)
started=$SECONDS

fail() { echo "error: $*" >&2; exit 2; }
say() { printf '[%3ds] %s\n' $(( SECONDS - started )) "$*"; }
in_venv() { "$venv/bin/python" "$@"; }
pip() { in_venv -m pip --disable-pip-version-check "$@"; }
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
suits() { [[ $1 == 3.10 || $1 == 3.11 || $1 == 3.12 ]]; }
has_gpu() { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; }

[[ $profile == light || $profile == full ]] || fail "profile '$profile' is neither light nor full."

# --- the interpreter: PYTHON, else the environment's own, else the first on PATH that suits ---------------------------
python=${PYTHON:-python3}
if [[ -n ${PYTHON:-} || ! -x $venv/bin/python ]]; then
    command -v "$python" >/dev/null 2>&1 || fail "there is no '$python'; install Python 3.10 to 3.12 or set PYTHON=."
    version=$(version_of "$python") || fail "'$python' does not run; install Python 3.10 to 3.12 or set PYTHON=."
    if [[ -z ${PYTHON:-} ]] && ! suits "$version"; then
        for other in python3.12 python3.11 python3.10; do
            if suits "$(version_of "$other")"; then python=$other version=$(version_of "$other"); break; fi
        done
    fi
    suits "$version" || fail "'$python' is Python $version, but openmsra needs 3.10 to 3.12; set PYTHON= to one of these."
fi
if [[ -x $venv/bin/python ]]; then
    old=$(version_of "$venv/bin/python") \
        || fail "the environment '$venv' is broken (its Python does not run); remove it or set VENV= to another folder."
    [[ $old == "${version:=$old}" ]] \
        || fail "the environment '$venv' holds Python $old, not $version; set VENV= to another folder."
    suits "$old" \
        || fail "the environment '$venv' holds Python $old, but openmsra needs 3.10 to 3.12; set VENV= to another folder."
    python=$venv/bin/python
else
    "$python" -c 'import venv, ensurepip' 2>/dev/null \
        || fail "'$python' cannot make environments; install its venv module (Debian: apt install python$version-venv)."
fi
site=$venv/lib/python$version/site-packages

# --- nothing to do? A stamp names the requirements, the checkout and every package that was there ---------------------
key=$(cat requirements/*.txt requirements/install.sh setup.py | cksum | cut -d' ' -f1)-$version-$(pwd -P | cksum | cut -d' ' -f1)
current() {
    local recorded package
    [[ -f $venv/.openmsra-$1 ]] || return 1
    {
        read -r recorded
        [[ $recorded == "$key" ]] || return 1
        while read -r package; do [[ -d $site/$package ]] || return 1; done
    } <"$venv/.openmsra-$1"
}
stop_if_current() {
    if current "$profile" || { [[ $profile == light ]] && current full; }; then
        say "the $profile environment in $venv is up to date"
        exit 0
    fi
}
stop_if_current

# --- what can be known at once is said at once -----------------------------------------------------------------------
foreign=$(cd "$site" 2>/dev/null && ls -d opencv_{,contrib_}python-*.dist-info opencv_contrib_python_headless-*.dist-info \
    mm{cv,engine,det,pretrain}-*.dist-info mm{cv_full,cv_lite,engine_lite}-*.dist-info 2>/dev/null | sed 's/\.dist-info//' | paste -sd' ') || true
[[ -z $foreign ]] || fail "the environment '$venv' holds $foreign, which shares files with a package that openmsra installs;" \
                          "uninstall it or set VENV= to another folder."

operators=cpu  # which of mmcv's operators are compiled: for the CPU, or also for the GPUs of this machine
if [[ ${FORCE_CUDA:-} == 1 ]] || { [[ ${FORCE_CUDA:-} != 0 ]] && has_gpu; }; then
    cards=${TORCH_CUDA_ARCH_LIST:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sort -u | paste -sd_ || true)}
    operators=cuda-${cards//[; ]/_}
fi
has_operators() {
    in_venv -c "import torch, mmcv, mmcv._ext as ext
assert mmcv.__version__ == '$mmcv_version'
assert '$operators' == 'cpu' or ext.get_compiling_cuda_version() != 'not available'" >/dev/null 2>&1
}
wheel_folder() {  # a compiled wheel fits one version of torch (with its build), one Python and one kind of operators
    local suffix=$version-$(uname -m)
    [[ $operators == cpu ]] || suffix+=-$operators
    echo "$cache/mmcv-$mmcv_version-torch-$1-py$suffix"
}
check_compilers() {
    command -v "${CXX:-c++}" >/dev/null 2>&1 \
        || fail "there is no C++ compiler (${CXX:-c++}), which mmcv's operators need; install one (Debian: apt install g++)" \
                "or use the light profile."
    "$python" -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_paths()["include"], "Python.h").is_file())' \
        || fail "the headers of '$python' are missing, which mmcv's operators need (Debian: apt install python$version-dev)."
    [[ $operators == cpu ]] || command -v nvcc >/dev/null 2>&1 || [[ -x ${CUDA_HOME:-/usr/local/cuda}/bin/nvcc ]] \
        || fail "there is no CUDA compiler (nvcc), which mmcv's operators for the GPU need; install the CUDA toolkit" \
                "$(sed -n 's/^cuda-toolkit==\([0-9]*\.[0-9]*\).*/\1/p' requirements/constraints.txt) or set FORCE_CUDA=0 for" \
                "operators that run on the CPU only."
}
if [[ $profile == full ]] && ! compgen -G "$(wheel_folder "$torch_version*")" >/dev/null && ! has_operators; then
    check_compilers
fi

check_space() {  # what is installed already counts
    local need=${OPENMSRA_NEED_MB:-$1} parent=$venv free have=0
    [[ ! -d $venv ]] || have=$(du -sm "$venv" | cut -f1)
    while [[ ! -d $parent ]]; do parent=$(dirname "$parent"); done
    free=$(df -Pm "$parent" | awk 'NR == 2 {print $4}')
    (( need = need > have + 500 ? need - have : 500 ))
    (( free >= need )) || fail "$parent has $free MB left, but the environment needs $need MB; free some or set VENV=" \
                               "to a folder on another disk."
}
cpu_mb=4000 cuda_mb=10000  # 1.9 and 5.6 GB installed; the rest is room for downloads
check_space "$(has_gpu && echo $cuda_mb || echo $cpu_mb)"

exec 9>"${TMPDIR:-/tmp}/openmsra-install-$(id -u)-$(realpath -m "$venv" | cksum | cut -d' ' -f1).lock"
flock -n 9 || { say "another installation into $venv is running; waiting for it"; flock 9; stop_if_current; }

# --- the environment -------------------------------------------------------------------------------------------------
job='' scratch=$(mktemp -d)
clean_up() {  # an interrupted installation leaves no process behind
    [[ -z $job ]] || kill -TERM -- "-$job" 2>/dev/null || true
    rm -rf "$scratch" "$cache/build-$$"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [[ ! -x $venv/bin/python ]]; then
    say "creating $venv with Python $version"
    [[ ! -d $venv/bin ]] || find "$venv/bin" -name 'python*' -xtype l -delete  # links to an interpreter that is gone
    "$python" -m venv "$venv" || fail "creating '$venv' failed; its messages are above."
fi
log=$venv/install.log
: >"$log"

step() {  # step "what" command...: one line, a sign of life every 15 s, the log's end on failure
    local what=$1 began ticks=0
    began=$(stat -c %s "$log")
    shift
    say "$what"
    set -m  # a process group of its own, so that all of it can be stopped
    "$@" >>"$log" 2>&1 </dev/null &
    job=$!
    set +m
    while kill -0 "$job" 2>/dev/null; do
        sleep 0.2
        (( ++ticks % 75 )) || say "  ... $(sign_of_life "$began")"
    done
    wait "$job" || { tail -n 15 "$log" >&2; fail "$what: failed; the end of $log is above."; }
    job=''
}
sign_of_life() {  # the compiler's last [k/n], else the last line of the log
    tail -c "+$(( $1 + 1 ))" "$log" | grep -aoE '^ *\[[0-9]+/[0-9]+\]' | tail -n 1 | sed 's/^ */files compiled: /' | grep . \
        || tail -c 2000 "$log" | tr '\r' '\n' | grep -av '^ *$\|WARNING' | tail -n 1 | cut -c1-90 || true
}

constraint=(-c requirements/constraints.txt)
index=(${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"})
in_venv -m pip --version >/dev/null 2>&1 || step "pip is missing: installing it" in_venv -m ensurepip --upgrade
pip download -q --no-deps --no-cache-dir --retries 0 --timeout 15 -d "$scratch" six==1.17.0 >>"$log" 2>&1 \
    || fail "the package index cannot be reached ($(grep -am1 -oiE 'connection[^(]*|no matching distribution[^(]*' "$log" || echo "see $log")):" \
            "check the network and pip's configuration (pip config list)."
step "pip and build tools" pip install "${constraint[@]}" pip setuptools wheel packaging psutil ninja

torch_build=$(compgen -G "$site/torch-$torch_version*.dist-info" || true)
if [[ -z $torch_build ]]; then
    torch_build=$(pip install -q --dry-run --no-deps --report - "${index[@]}" "torch==$torch_version" 2>>"$log" \
        | in_venv -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["download_info"]["url"])' 2>>"$log") \
        || fail "pip finds no torch $torch_version for Python $version; see $log and pip's configuration (pip config list)."
    if [[ $torch_build != *cpu* ]] && ! has_gpu; then
        check_space $cuda_mb
        say "no NVIDIA GPU here, but pip offers torch's CUDA build, which runs on CPUs too; TORCH_INDEX_URL= with an index" \
            "of CPU builds would save 4 GB"
    fi
fi
if [[ ${torch_build##*/} == *cpu* ]] && { [[ $operators != cpu ]] || has_gpu; }; then
    fail "CUDA is wanted (NVIDIA GPU or FORCE_CUDA=1), but torch is a CPU build (${torch_build##*/}); unset TORCH_INDEX_URL" \
         "or pip's find-links, or set VENV= to another folder."
fi
step "torch (the largest download)" pip install "${constraint[@]}" "${index[@]}" torch torchvision
lists=(-r requirements/runtime.txt -r requirements/papers.txt)
[[ $profile == light ]] || lists+=(-r requirements/tests.txt -r requirements/export.txt -r requirements/benchmarks.txt)
step "libraries" pip install "${constraint[@]}" "${lists[@]}"
step "OpenMMLab packages" pip install --no-deps -r requirements/nodeps.txt

build_wheel() {  # into the cache by a rename, so that no half written wheel is ever found
    local target=$1 build=$cache/build-$$
    mkdir -p "$build"
    [[ $operators != cpu ]] || export CUDA_VISIBLE_DEVICES='' FORCE_CUDA=0
    PATH=$(realpath "$venv/bin"):$PATH CFLAGS=-g0 MAX_JOBS=${MAX_JOBS:-$(nproc)} \
        pip wheel -v --no-cache-dir --no-build-isolation --no-deps -w "$build" "onedl-mmcv==$mmcv_version"
    [[ -d $target ]] || mv "$build" "$target"
}
if [[ $profile == full ]] && ! has_operators; then
    wheel=$(wheel_folder "$(in_venv -c 'import torch; print(torch.__version__)')")
    if [[ ! -d $wheel ]]; then
        check_compilers
        step "compiling mmcv's operators, once, about 7 minutes (no wheel is published; the result is kept in $cache)" \
            build_wheel "$wheel"
    fi
    step "mmcv with operators" pip install --no-deps --force-reinstall "$wheel"/*.whl
    has_operators || fail "mmcv was installed but its operators do not import; remove $wheel and try again."
elif ! in_venv -c "import mmcv; assert mmcv.__version__ == '$mmcv_version'" >/dev/null 2>&1 \
        || { compgen -G "$site/mmcv/_ext*.so" >/dev/null && ! has_operators; }; then
    step "mmcv without operators" pip install --no-deps --force-reinstall "onedl-mmcv==$mmcv_version"
fi
step "openmsra itself" pip install --no-deps --no-build-isolation -e .
{ echo "$key"; (cd "$site" && ls -d -- *.dist-info); } >"$venv/.openmsra-$profile.new"
mv "$venv/.openmsra-$profile.new" "$venv/.openmsra-$profile"
say "the $profile environment in $venv is ready"
