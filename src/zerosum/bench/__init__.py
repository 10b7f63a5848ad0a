"""
Workloads to measure the exchange with, each made here from a fixed seed.

    java_random ---> exchange_core: the command stream that exchange-core publishes its figures on ---> core_worker
    gateway, gateway_*: signed orders from other processes        settlement: events into SQLite
    e2e, e2e_*: the whole, killed and audited                      soak: the whole, for long

Always true: the same arguments give the same bytes on every machine, and a published hash says that they are the right ones. So a figure
taken on a workload can be compared with another system's, and nobody gets faster by doing less.
The workloads know nothing of the exchange that is measured.
"""
