"""
docs/reference/configuration.md, from the settings themselves.

    python -m zerosum.ops.settings_docs > docs/reference/configuration.md
"""

from __future__ import annotations

import sys
from typing import Final

from zerosum.ops.settings_model import SECTIONS, SETTINGS, Setting, Settings, allowed, example, shown

_INTRODUCTION: Final = """\
# Configuration

Nothing has to be set. Settings are read from a file, then from the environment, which goes before it, then from the command's options,
which go before both. `zerosum config check` shows what comes of it, and where each setting is from. This page is made from the settings
themselves (`zerosum.ops.settings_model`).

- **The data directory** of every command: `--data`, else `ZEROSUM_DATA_DIRECTORY`, else `zerosum-data`.
- **The settings file** (of `up`, `init`, `key` and `config check`): `--config`, else `zerosum.toml` in the data directory, if there is one.
  Only a file that was named with `--config` may say where the data directory is; `--data` and `ZEROSUM_DATA_DIRECTORY` go before it.

In the file a setting stands in its section; in the environment its name is in capitals, behind `ZEROSUM_`, with `_` for the dot:

```toml
[rest]
port = 9000
```

    ZEROSUM_REST_PORT=9000

- A list is written `["10.0.0.2", "10.0.0.3"]` in the file, and `10.0.0.2,10.0.0.3` in the environment.
- A variable that is set to nothing counts as not set.
- All faults are reported at once, and nothing is started: a value that may not be, settings that do not fit together, a name that is no
  setting (also of a variable: one misspelled would change nothing). What Kubernetes adds for a service named zerosum is left alone, but
  for a service named like a setting (`zerosum-rest` gives `ZEROSUM_REST_PORT`): set `enableServiceLinks: false` there.
- Times are in seconds, sizes in bytes, as the end of the name says.
"""


def markdown() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, _section("", "Before the first section", Settings.__doc__ or "")]
    parts += [_section(key, f"[{key}]", model.__doc__ or "") for key, model in SECTIONS.items()]
    return "\n".join(parts)


def _section(section: str, heading: str, explained: str) -> str:
    lines = [f"## {heading}", "", explained.strip(), "", "| setting | unless set | may be | what it is |", "|---|---|---|---|"]
    lines += [_row(setting) for setting in SETTINGS.values() if setting.section == section]
    return "\n".join(lines) + "\n"


def _row(setting: Setting) -> str:
    default = setting.field.default
    if default is not None:
        unless_set = f"`{shown(default)}`"
    elif setting.is_secret:
        unless_set = "not set"
    else:
        unless_set = f"not set; for example `{example(setting)}`"
    return f"| `{setting.key}`<br>`{setting.variable}` | {unless_set} | {allowed(setting)} | {setting.field.description} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
