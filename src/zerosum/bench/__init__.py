"""
Workloads to measure the exchange with, each made here from a fixed seed.

    java_random ---> exchange_core: the command stream that exchange-core publishes its figures on

Always true: the same arguments give the same bytes on every machine, and a published hash says that they are the right ones. So a figure
taken on a workload can be compared with another system's, and nobody gets faster by doing less.
Knows nothing of the exchange that is measured.
"""
