"""`carillon bench`: what things cost on this machine.

1. `stage` starts the system on embedded engines of its own, with simulators of the push services, and an app with people.
2. `measure` publishes each sort of message for some seconds, and takes the CPU time of workers and engines for one of them.
3. `worker.core.capacity` makes costs of that, and of the costs how many processes, nodes and cores a load needs.
"""
