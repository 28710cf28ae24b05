#!/usr/bin/env bash
# Train on a Slurm cluster:  [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]
#   GPUS=0 TASKS=2   processes on CPUs, where there are no GPUs
#   REQUEUE=1        submit as a batch job that saves GRACE seconds (120) before its time limit, or when it is told to stop, goes back
#                    into the queue and goes on with --resume; SRUN_ARGS then also take sbatch's options (--time=24:00:00)
set -euo pipefail
if (( $# < 4 )); then
    echo 'usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py]' >&2
    exit 2
fi
partition=$1 job=$2 config=$3 work_dir=$4
shift 4
gpus=${GPUS:-8}
tasks=$(( gpus > 0 ? gpus : ${TASKS:-1} ))
per_node=${GPUS_PER_NODE:-$(( tasks < 8 ? tasks : 8 ))}
read -r -a extra <<< "${SRUN_ARGS:-}"
resources=(-p "$partition" --job-name="$job" --ntasks="$tasks" --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}")
(( gpus == 0 )) || resources+=(--gres="gpu:$per_node")
train=("${PYTHON:-python}" "$(dirname "$(readlink -f "$0")")/train.py" "$config" --work-dir "$work_dir" --launcher slurm "$@")
if [[ -z ${REQUEUE:-} ]]; then
    exec srun "${resources[@]}" --kill-on-bad-exit=1 ${extra[@]+"${extra[@]}"} "${train[@]}"
fi
mkdir -p "$work_dir"
exec sbatch "${resources[@]}" --requeue --open-mode=append --output="$work_dir/slurm-%j.out" --signal="B:USR1@${GRACE:-120}" \
    ${extra[@]+"${extra[@]}"} <<BATCH
#!/usr/bin/env bash
srun --kill-on-bad-exit=0 $(printf '%q ' "${train[@]}") --resume &
step=\$!
stop() { scancel --signal=USR1 "\$SLURM_JOB_ID.0"; }
trap stop USR1
trap 'cancelled=1; stop' TERM  # scancel of the job; where a preempted job goes back into the queue, Slurm itself sees to it
# wait ends at each signal; the step is over when it has its exit code
while kill -0 \$step 2>/dev/null; do wait \$step; code=\$?; done
case \${cancelled:-}\$code in
    75 | 138 | 143) scontrol requeue "\$SLURM_JOB_ID" ;;  # asked to stop: has saved, or had not begun to train yet
esac
exit \$code
BATCH
