"""
The root of every error meant for the operator.

    ZerosumError            settings, disk, network, data: something outside the program is wrong
      ConfigError           a setting
      (each package adds its own beside the code that raises them)

What a user did wrong is never one of these (it is an outcome in the event stream), nor is a bug of ours (an assert, and the process
stops).
"""


class ZerosumError(Exception):
    """The text is for the operator: what is wrong, where, and what would be right. Shown without a traceback."""


class ConfigError(ZerosumError):
    """
    A setting is missing, malformed, or at odds with another. The text names it as the settings file does. `faults`: where there are
    several, each by itself.
    """

    def __init__(self, *faults: str) -> None:
        heading = f"{len(faults)} settings are wrong.\n" if len(faults) > 1 else ""
        super().__init__(heading + "\n".join(faults))
        self.faults = faults
