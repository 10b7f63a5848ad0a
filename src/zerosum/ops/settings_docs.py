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

Nothing has to be set. Of what sets a thing, the first in this order goes before all others:

1. an option of the command line,
2. the environment,
3. a secret file that a setting names (`master_key_file`, `kafka.password_file`),
4. the settings file,
5. the default.

`zerosum config show` prints what comes of it, and where each setting is from; `zerosum config check --role gateway` says whether a start
would take it, and looks at the files that are named: a secret's is to be one line that its owner alone can read, wherever links lead.
`deploy/config` has short files for a start, and a template with every setting. This page is made from the settings themselves
(`zerosum.ops.settings_model`).

- **The data directory** of every command: `--data`, else `ZEROSUM_DATA_DIRECTORY`, else `zerosum-data`.
- **The settings file** (of `up`, `init`, `key` and `config`): `--config`, else `zerosum.toml` in the data directory, if there is one.
  Only a file that was named with `--config` may say where the data directory is; `--data` and `ZEROSUM_DATA_DIRECTORY` go before it.

In the file a setting stands in its section; in the environment its name is in capitals, behind `ZEROSUM_`, with `_` for the dot:

```toml
[rest]
port = 9000
```

    ZEROSUM_REST_PORT=9000

- A list is written `["10.0.0.2", "10.0.0.3"]` in the file, and `10.0.0.2,10.0.0.3` in the environment.
- A variable that is set to nothing counts as not set.
- `master_key` and `master_key_file` are two ways to say one thing: the one in the environment goes before the other in the file. Both in
  one place are refused.
- All faults are reported at once, and nothing is started: a value that may not be, settings that do not fit together, a name that is no
  setting (also of a variable: one misspelled would change nothing). What Kubernetes adds for a service named zerosum is left alone, but
  for a service named like a setting (`zerosum-rest` gives `ZEROSUM_REST_PORT`): set `enableServiceLinks: false` there.
- Times are in seconds, sizes in bytes, as the end of the name says.

## Profiles

`profile = "prod"` is for where money is real. A start is refused, with all reasons in one list, for:

| what | who is refused |
|---|---|
| `rest.host` or `websocket.host` that is no loopback address, without TLS | `up`, gateways |
| `operations.host` that is neither a loopback nor a private address | whatever serves |
| a weak master key: one digit, a pattern, a text, an example's; one in the settings file, or in the data directory | `up`, gateways |
| a secret's file, or a link to it, in a folder in which others may put another in its place | whoever reads it |
| a bound in `rest`, `websocket` or `allowance` over a hundred times its default; one address may have all connections | `up`, gateways |
| `gateway.trusted_proxies` with an address that is no host's | `up`, gateways |
| `demo.enabled` | `up` |
| `logging.level` debug; a data directory that others can read; root, without `allow_root` | whatever serves |
| no `kafka.user`, no `cluster.operators`; 1 for `kafka.replication`, `kafka.in_sync` or `database.replication` | a cluster's |
| `database.consistency` ONE | a cluster's |

In profile dev `zerosum config check` warns of all of it, and a start of what somebody has set that others could use. Secrets' files that
others can read are refused in both. Check as the user that will run it: whose the files are, and whether it is root, is part of it.
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
