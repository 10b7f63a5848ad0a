"""
deploy/config/production-template.toml, from the settings themselves.

    python -m zerosum.ops.settings_template > deploy/config/production-template.toml
"""

from __future__ import annotations

import re
import sys
import textwrap
from typing import Final

from zerosum.ops.settings_model import SECTIONS, SETTINGS, Setting, allowed, example, shown

WIDTH: Final = 120
_LINK: Final = re.compile(r"\[([^]]+)\]\([^)]*\)")

_INTRODUCTION: Final = """\
Every setting that there is, commented out at its default: take away the # before those that you set. Made from the settings themselves;
docs/reference/configuration.md says more. Check what you made of it with `zerosum config check FILE --role ROLE`.

Profile prod has to have: profile = "prod", master_key_file outside of the data directory, and for `zerosum up` demo.enabled = false.
A cluster's services have to have besides: user, password_file and ca_file of [kafka], and where they use the database of [database];
cluster.signers, cluster.operators and operators_needed.
"""


def template() -> str:
    """The whole file."""
    parts = [_comment(paragraph) for paragraph in _INTRODUCTION.strip().split("\n\n")]
    parts = ["#\n".join(parts), *map(_setting, _of_section(""))]
    for section, model in SECTIONS.items():
        parts += [f"[{section}]\n{_comment(model.__doc__ or '')}", *map(_setting, _of_section(section))]
    return "\n".join(parts)


def _of_section(section: str) -> list[Setting]:
    return [setting for setting in SETTINGS.values() if setting.section == section]


def _setting(setting: Setting) -> str:
    explained = _LINK.sub(r"\1", setting.field.description or "").rstrip(".")
    lines = _comment(f"{explained}. May be {allowed(setting)}.")
    default = setting.field.default
    if default is not None and (shown(default) != "[]" or not setting.field.examples):
        return f"{lines}# {setting.key} = {shown(default)}\n"
    if setting.is_secret:
        return f"{lines}# Not set. Give it in the environment: {setting.variable}\n"
    unset = "Not set" if default is None else f"Unless set: {shown(default)}"
    return f"{lines}# {unset}; for example:\n# {setting.key} = {example(setting)}\n"


def _comment(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(template())
