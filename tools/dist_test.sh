#!/usr/bin/env bash
# Test on several processes: GPUs with NCCL, or CPU processes with gloo where there is no GPU.
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
exec bash "$(dirname "$(readlink -f "$0")")/torchrun.sh" test.py 3 "$@"
