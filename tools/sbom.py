"""
The bill of materials of what runs, as CycloneDX 1.6 in JSON: `make sbom` writes build/sbom.json.

    requirements/run.lock --> name, version, hashes      metadata of what is installed --> license, what needs what

A component's hashes are those of all files that the lock allows for it: for each machine another is installed. Always true: the same lock
gives the same bytes, and they keep to the schema.
"""

from __future__ import annotations

import json
import re
import sys
import sysconfig
import uuid
from pathlib import Path
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.packages import OURS, ROOT, installed, license_of, locked

OUT: Final = ROOT / "build/sbom.json"


def sbom(lock: Path, site_packages: Path) -> str:
    pinned, there = locked(lock), installed(site_packages)
    ours = there[OURS]
    licenses = LicenseFactory()
    root = Component(
        name=OURS, version=ours.version, type=ComponentType.APPLICATION, bom_ref=OURS,
        licenses=[licenses.make_from_string(license_of(OURS, ours))],
    )  # fmt: skip
    components = {
        name: Component(
            name=each.name,
            version=each.version,
            type=ComponentType.LIBRARY,
            bom_ref=f"{name}=={each.version}",
            purl=PackageURL("pypi", name=name, version=each.version),
            licenses=[licenses.make_from_string(license_of(name, there.get(name)))],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content) for content in each.hashes],
        )
        for name, each in pinned.items()
    }
    number = uuid.uuid5(uuid.NAMESPACE_OID, lock.read_text() + ours.version)
    bom = Bom(components=components.values(), metadata=BomMetaData(component=root), serial_number=number)
    for name, component in [(OURS, root), *components.items()]:
        needs = needed(there[name].requires or []) if name in there else set()
        bom.register_dependency(component, [components[each] for each in sorted(needs & components.keys())])
    written = json.loads(JsonV1Dot6(bom).output_as_string())
    del written["metadata"]["timestamp"]  # it would make two bills of one lock differ
    return json.dumps(written, indent=2, sort_keys=True) + "\n"


def needed(requirements: list[str]) -> set[str]:
    """Of a distribution without its extras."""
    found = [Requirement(each) for each in requirements if not re.search(r"\bextra\s*==", each)]
    return {str(canonicalize_name(each.name)) for each in found}


def faults_of(text: str) -> str | None:
    """What of it is against the schema."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return None if error is None else str(error)


def main() -> int:
    text = sbom(ROOT / "requirements/run.lock", Path(sysconfig.get_path("purelib")))
    fault = faults_of(text)
    assert fault is None, f"it keeps to the schema, and does not: {fault}"
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(text)
    sys.stdout.write(f"{OUT.relative_to(ROOT)} lists {len(json.loads(text)['components'])} packages\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
