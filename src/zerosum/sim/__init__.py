"""
What the core is held against: a slow and obvious model of it, and random programs of commands from a seed.
"""
