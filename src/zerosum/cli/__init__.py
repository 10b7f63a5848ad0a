"""
The `zerosum` command. Each subcommand is a module; a person gets tables and color, a program `--json`.
"""
