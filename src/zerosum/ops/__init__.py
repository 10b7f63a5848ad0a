"""
What an operator sees and sets: settings, logs, metrics, health.

    load, check     settings.py     every setting there is, from file and environment
    configure       logging.py      JSON lines, written by a thread that never holds up anything
    Metrics         metrics.py      plain counters, and their exposition
    Readiness       health.py       what is not as it should be, by name
    OperationsServer  operations.py   /healthz, /readyz, /metrics
"""
