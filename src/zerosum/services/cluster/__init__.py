"""
The roles of a cluster, each a page, and what joins them.
"""
