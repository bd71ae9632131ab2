#!/bin/bash
# One training on several machines of a Slurm cluster: sbatch deploy/slurm.sh data.parquet --target price
#
# srun starts a process for each GPU; each finds its place by Slurm's variables, so there is no launcher. When a process fails, Slurm ends the
# others (--kill-on-bad-exit) and puts the job back into its queue; it then goes on from the last checkpoint. RUNS is a folder that
# all machines see, and so is the data.
#SBATCH --job-name=danlu
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --open-mode=append

RUNS=${RUNS:-$SLURM_SUBMIT_DIR/runs}
NAME=slurm-$SLURM_JOB_ID

if [ -d "$RUNS/$NAME" ]; then
    work=(danlu train --resume "$RUNS/$NAME")
else
    work=(danlu train "$@" --runs "$RUNS" --name "$NAME")
fi

srun --kill-on-bad-exit=1 "${work[@]}"
status=$?
case $status in
    0 | 1) exit $status ;;                # done, or an error that would come again
    # 75: a process has lost another one; 137: it was killed; 143: stopped, two minutes before the time was over
    *) [ "${SLURM_RESTART_COUNT:-0}" -lt 10 ] && scontrol requeue "$SLURM_JOB_ID" ;;
esac
