"""Several processes that train one model: started here, found under Slurm, Open MPI and Kubernetes, watched over and started again."""

from danlu.launch.join import join, joined
from danlu.launch.launcher import Job, launch
from danlu.launch.place import Place, find
from danlu.launch.workers import Workers

__all__ = ["Job", "Place", "Workers", "find", "join", "joined", "launch"]
