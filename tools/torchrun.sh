#!/usr/bin/env bash
# Called by dist_train.sh and dist_test.sh: torchrun.sh TOOL POSITION_OF_GPUS ARGUMENTS...
#   PORT=29500          a port of one's own instead of a free one
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=host PORT=29500     several machines
#   NNODES=1:4 MASTER_ADDR=host PORT=29500               as many of them as are there; they may come and go
#   MAX_RESTARTS=3      start again from the newest checkpoint when a process dies
#   GRACE=60            seconds for the checkpoint after SIGTERM, SIGUSR1 or Ctrl-C
set -euo pipefail
tool=$1 position=$2
shift 2
if (( $# < position )) || ! [[ ${!position} =~ ^[1-9][0-9]*$ ]]; then
    sed -n '3p' "$(dirname "$(readlink -f "$0")")/dist_${tool%.py}.sh" | sed 's/^# */usage: /' >&2
    echo "error: argument $position must be the number of processes, got '${!position:-nothing}'." >&2
    exit 2
fi
gpus=${!position}
arguments=("${@:1:position-1}" "${@:position+1}")
python=${PYTHON:-python}
nodes=${NNODES:-1} address=${MASTER_ADDR:-127.0.0.1}
if [[ -n ${PORT:-} && ${NODE_RANK:-0} == 0 && $address == 127.0.0.1 ]] && ! "$python" -c \
        'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1])))' "$PORT" 2>/dev/null; then
    echo "error: port $PORT is taken, by another training perhaps; set PORT= to a free one or leave it out." >&2
    exit 2
fi
if [[ $nodes == *:* ]]; then
    rendezvous=(--nnodes "$nodes" --rdzv-backend c10d --rdzv-endpoint "$address:${PORT:-29500}" --rdzv-id "${JOB_ID:-openmsra}")
elif (( nodes > 1 )) || [[ -n ${PORT:-} ]]; then
    rendezvous=(--nnodes "$nodes" --node_rank "${NODE_RANK:-0}" --master_addr "$address" --master_port "${PORT:-29500}")
else
    rendezvous=(--standalone --local-addr 127.0.0.1)  # a free port; the machine's own name need not resolve
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" -m openmsra.engine.torchrun "${rendezvous[@]}" --nproc_per_node "$gpus" --max-restarts "${MAX_RESTARTS:-0}" \
    --signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 --shutdown-timeout "${GRACE:-60}" \
    "$(dirname "$(readlink -f "$0")")/$tool" "${arguments[@]}" --launcher pytorch
