"""
Simulated worlds in which the exchange runs and fails (run.py), and what it is held against there and in tests: slow and obvious models, and
random programs of commands from a seed.
"""
