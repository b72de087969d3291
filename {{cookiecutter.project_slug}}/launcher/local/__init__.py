"""A job on this machine: the same replicas, environment, restarts and time limit as on Vertex AI.

local      start here: `Run` runs a job
contract   the replicas of a job and the environment of each
process    a replica as a process: ports, output, exit
fork       replicas that are forked from a process which has imported TensorFlow
fork_server   the process that imports TensorFlow, and forks
guard      run a command, and end it when the launcher has ended
container  a replica as a container; build the project's image with the local Docker
faults     kill or preempt a replica on purpose
run_dirs   create or reuse a run directory
view       show the replicas on the terminal
serving    a model served on this machine, as a process or in its image
load       measure a server
simple_models   fit them to a run's rows, as a program of its own
"""
