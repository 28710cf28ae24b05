#!/usr/bin/env bash
# Called by dist_train.sh and dist_test.sh: torchrun.sh TOOL POSITION_OF_GPUS ARGUMENTS...
set -euo pipefail
tool=$1 position=$2
shift 2
if (( $# < position )) || ! [[ ${!position} =~ ^[1-9][0-9]*$ ]]; then
    sed -n '3p' "$(dirname "$0")/dist_${tool%.py}.sh" | sed 's/^# */usage: /' >&2
    echo "error: argument $position must be the number of processes, got '${!position:-nothing}'." >&2
    exit 2
fi
gpus=${!position}
arguments=("${@:1:position-1}" "${@:position+1}")
python=${PYTHON:-python}
if (( ${NNODES:-1} > 1 )) || [[ -n ${PORT:-} ]]; then
    rendezvous=(--nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}"
                --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${PORT:-29500}")
else
    rendezvous=(--standalone)  # a free port is found
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" -m torch.distributed.run "${rendezvous[@]}" --nproc_per_node "$gpus" \
    "$(dirname "$0")/$tool" "${arguments[@]}" --launcher pytorch
