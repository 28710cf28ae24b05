#!/usr/bin/env bash
# Train on several processes: GPUs with NCCL, or CPU processes with gloo where there is no GPU.
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each. MAX_RESTARTS, GRACE: see docs/reliability.md.
exec bash "$(dirname "$(readlink -f "$0")")/torchrun.sh" train.py 2 "$@"
