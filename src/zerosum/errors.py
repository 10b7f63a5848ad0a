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
    """A setting is missing, malformed, or at odds with another. The text names it as the settings file does."""
