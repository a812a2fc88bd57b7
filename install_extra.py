"""install_extra.py EXTRA VENV: a virtual environment with one extra of pyproject.toml, as requirements.lock pins it.

pip can't take a part of a lock file, so it is asked which packages the extra needs, and given their lines with hashes.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import tomllib


def main(extra: str, venv: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    lock = re.split(r"\n(?=\S)", Path("requirements.lock").read_text())
    pinned = {line.split("==")[0]: line for line in lock}
    wanted = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    versions = Path("versions.txt")
    versions.write_text("\n".join(line.split(" ")[0] for line in lock))
    plan = [*pip, "install", "--dry-run", "--report", "report.json", "--constraint", versions, *wanted]
    subprocess.run(plan, check=True)
    needed = [item["metadata"]["name"] for item in json.loads(Path("report.json").read_text())["install"]]
    Path("part.lock").write_text("\n".join(pinned[re.sub(r"[-_.]+", "-", name).lower()] for name in needed))
    install = [*pip, "install", "--only-binary", ":all:", "--require-hashes", "--requirement", "part.lock"]
    subprocess.run(install, check=True)
    subprocess.run([*pip, "uninstall", "--yes", "pip", "setuptools"], check=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
