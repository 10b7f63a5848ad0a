"""
The processes, each wired together on a page: the embedded exchange and its follower.
"""
