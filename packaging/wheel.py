#!/usr/bin/env python3
"""Makes a wheel that holds the binary, so that `pip install dsbus` brings it.

    wheel.py BINARY DIRECTORY [--fast]

The Python package of clients/python is part of it, where there is one. A static binary runs on every
Linux, and the wheel says so. --fast packs nothing: for tests.
"""

import base64
import hashlib
import os
import re
import struct
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "clients" / "python"
MACHINES = {62: "x86_64", 183: "aarch64"}
PT_INTERP = 3


def tags(binary: bytes) -> list[str]:
    """Where it runs."""
    if binary[:5] != b"\x7fELF\x02":
        sys.exit("wheel.py: that is no 64-bit ELF binary")
    machine = MACHINES[struct.unpack_from("<H", binary, 18)[0]]
    (offset,) = struct.unpack_from("<Q", binary, 32)
    size, count = struct.unpack_from("<HH", binary, 54)
    kinds = [struct.unpack_from("<I", binary, offset + size * n)[0] for n in range(count)]
    if PT_INTERP in kinds:
        return [f"linux_{machine}"]
    return [f"manylinux_2_17_{machine}", f"musllinux_1_1_{machine}"]


def manifest() -> dict:
    """What the Python package says of itself."""
    path = CLIENT / "pyproject.toml"
    if not path.exists():
        return {}
    try:
        import tomllib
    except ImportError:  # Python before 3.11
        from pip._vendor import tomli as tomllib

    return tomllib.loads(path.read_text()).get("project", {})


def files(binary: bytes, version: str, platforms: list[str]):
    """Names in the wheel, what they hold, and whether it is a program."""
    project = manifest()
    sources = CLIENT / "src" if (CLIENT / "src").is_dir() else CLIENT
    package = sources / "dsbus"
    for path in sorted(package.rglob("*")) if package.is_dir() else []:
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(sources)), path.read_bytes(), False
    yield f"dsbus-{version}.data/scripts/dsbus", binary, True
    metadata = [
        "Metadata-Version: 2.1",
        "Name: dsbus",
        f"Version: {version}",
        "Summary: Supervisor for a fleet: every verb and every daemon in one binary",
        "License: Apache-2.0",
        f"Requires-Python: {project.get('requires-python', '>=3.8')}",
        *(f"Requires-Dist: {one}" for one in project.get("dependencies", [])),
        "Description-Content-Type: text/markdown",
    ]
    text = "\n".join(metadata) + "\n\n" + (ROOT / "README.md").read_text()
    info = f"dsbus-{version}.dist-info"
    yield f"{info}/METADATA", text.encode(), False
    wheel = ["Wheel-Version: 1.0", "Generator: dsbus", "Root-Is-Purelib: false"]
    wheel += [f"Tag: py3-none-{one}" for one in platforms]
    yield f"{info}/WHEEL", ("\n".join(wheel) + "\n").encode(), False
    yield f"{info}/licenses/LICENSE", (ROOT / "LICENSE").read_bytes(), False


def main(binary: str, directory: str, *options: str) -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    content = Path(binary).read_bytes()
    platforms = tags(content)
    path = Path(directory) / f"dsbus-{version}-py3-none-{'.'.join(platforms)}.whl"
    # The same source makes the same file.
    moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", 315532800)))[:6]
    method = zipfile.ZIP_STORED if "--fast" in options else zipfile.ZIP_DEFLATED
    record = []
    with zipfile.ZipFile(path, "w", method) as wheel:

        def add(name: str, data: bytes, program: bool = False) -> None:
            entry = zipfile.ZipInfo(name, moment)
            entry.external_attr = (0o100755 if program else 0o100644) << 16
            entry.compress_type = method
            wheel.writestr(entry, data)

        for name, data, program in files(content, version, platforms):
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}")
            add(name, data, program)
        name = f"dsbus-{version}.dist-info/RECORD"
        add(name, "".join(f"{line}\n" for line in [*record, f"{name},,"]).encode())
    print(path)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
