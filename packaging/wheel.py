#!/usr/bin/env python3
"""Makes the wheels of the project `dsbus`, so that `pip install dsbus` brings it.

    wheel.py DIRECTORY [BINARY] [--fast]

All of them have the module `dsbus` of clients/python, and the same name, version and metadata. The one
that is made with BINARY also brings the program `dsbus`: a static binary runs on every Linux, and the
wheel says so. The other, without, is for every machine, and pip takes it where no wheel is for that one.
--fast packs nothing: for tests.
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


def project() -> dict:
    """What the project says of itself."""
    try:
        import tomllib
    except ImportError:  # Python before 3.11
        from pip._vendor import tomli as tomllib

    return tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]


def metadata(project: dict) -> str:
    """The same in all wheels: installers read it in one, and believe it of the others."""
    extras = sorted(project["optional-dependencies"].items())
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License: {project['license']['text']}",
        *(f"Classifier: {one}" for one in project["classifiers"]),
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {one}" for one in project["dependencies"]),
        *(f'Requires-Dist: {one} ; extra == "{extra}"' for extra, more in extras for one in more),
        *(f"Provides-Extra: {extra}" for extra, _ in extras),
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join(lines) + "\n\n" + (CLIENT / project["readme"]).read_text()


def files(binary: bytes, project: dict, platforms: list[str]):
    """Names in the wheel, what they hold, and whether it is a program."""
    sources = CLIENT / "src"
    for path in sorted((sources / "dsbus").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(sources)), path.read_bytes(), False
    name = f"dsbus-{project['version']}"
    if binary:
        yield f"{name}.data/scripts/dsbus", binary, True
    yield f"{name}.dist-info/METADATA", metadata(project).encode(), False
    wheel = ["Wheel-Version: 1.0", "Generator: dsbus"]
    wheel += [f"Root-Is-Purelib: {'false' if binary else 'true'}"]
    wheel += [f"Tag: py3-none-{one}" for one in platforms]
    yield f"{name}.dist-info/WHEEL", ("\n".join(wheel) + "\n").encode(), False
    yield f"{name}.dist-info/licenses/LICENSE", (ROOT / "LICENSE").read_bytes(), False


def main(directory: str, binary: str = "", fast: bool = False) -> None:
    about = project()
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M).group(1)
    if (about["name"], about["version"]) != ("dsbus", version):
        sys.exit(f"wheel.py: clients/python/pyproject.toml is not of dsbus {version}: write that there")
    content = Path(binary).read_bytes() if binary else b""
    platforms = tags(content) if binary else ["any"]
    path = Path(directory) / f"dsbus-{version}-py3-none-{'.'.join(platforms)}.whl"
    # The same source makes the same file.
    moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", 315532800)))[:6]
    method = zipfile.ZIP_STORED if fast else zipfile.ZIP_DEFLATED
    record = []
    with zipfile.ZipFile(path, "w", method) as wheel:

        def add(name: str, data: bytes, program: bool = False) -> None:
            entry = zipfile.ZipInfo(name, moment)
            entry.external_attr = (0o100755 if program else 0o100644) << 16
            entry.compress_type = method
            wheel.writestr(entry, data)

        for name, data, program in files(content, about, platforms):
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}")
            add(name, data, program)
        name = f"dsbus-{version}.dist-info/RECORD"
        add(name, "".join(f"{line}\n" for line in [*record, f"{name},,"]).encode())
    print(path)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--fast"]
    if len(words) not in (1, 2):
        sys.exit(__doc__)
    main(*words, fast="--fast" in sys.argv)
