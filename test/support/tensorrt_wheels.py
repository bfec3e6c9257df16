# SPDX-License-Identifier: Apache-2.0
"""The published Python bindings of TensorRT, importable without its libraries.

The extension module of a `tensorrt-*-bindings` wheel needs three shared libraries with nine C
functions at import. With stubs of these it has every class, method, enum and signature of its
version; creating a Builder or a Runtime fails with an error.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "groot_ros" / "tensorrt"

_LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin")
_FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)


class BindingsUnavailableError(Exception):
    """The bindings cannot be installed on this machine; the message has the reason."""


@dataclass(frozen=True)
class Bindings:
    """One version, unpacked, with stub libraries."""

    version: str
    package: Path
    libraries: Path

    def run(self, arguments: Sequence[str], *path: Path) -> "subprocess.CompletedProcess[str]":
        """Run a Python process in which `import tensorrt_bindings` works."""
        return subprocess.run(
            [sys.executable, *arguments],
            env={
                **os.environ,
                "LD_LIBRARY_PATH": str(self.libraries),
                "PYTHONPATH": os.pathsep.join([str(self.package), *map(str, path)]),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def obtain(wheel: str, version: str) -> Bindings:
    """Download and unpack one version into the cache, unless it is there.

    Raises:
        BindingsUnavailableError: no network, no compiler or no place for the cache.

    """
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    home = CACHE / f"{wheel}-{version}-{python}"
    if not (home / "ready").exists():
        # Into a temporary folder first: two test runs may do this at the same time.
        partial = home.with_name(f"{home.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
        except OSError as error:
            raise BindingsUnavailableError(
                f"the bindings cannot be stored in {CACHE}: {error}"
            ) from None
        try:
            unpack(download(wheel, version, partial), partial / "package")
            _link_stubs(partial / "libraries", version.partition(".")[0])
            (partial / "ready").touch()
            shutil.rmtree(home, ignore_errors=True)
            partial.rename(home)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return Bindings(version, home / "package", home / "libraries")


def download(wheel: str, version: str, folder: Path) -> Path:
    """Download a wheel without its dependencies; return its path.

    Raises:
        BindingsUnavailableError: it cannot be downloaded.

    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--retries", "1", "--timeout", "15"]
    command += ["--only-binary=:all:", "--dest", str(folder), f"{wheel}=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=45, check=False)
    except subprocess.TimeoutExpired:
        raise BindingsUnavailableError(f"{wheel} {version}: the download timed out") from None
    found = list(folder.glob("*.whl"))
    if not found:
        reason = (done.stderr.strip().splitlines() or ["pip printed no error"])[-1]
        raise BindingsUnavailableError(f"{wheel} {version} cannot be downloaded: {reason}")
    return found[0]


def unpack(wheel: Path, package: Path) -> None:
    """Unpack a wheel into a folder and delete the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(package)
    wheel.unlink()


def _link_stubs(folder: Path, major: str) -> None:
    folder.mkdir()
    compiler = shutil.which("gcc")
    if compiler is None:
        raise BindingsUnavailableError("gcc is needed to build the stub libraries")
    source = folder / "stubs.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS))
    for library in _LIBRARIES:
        name = f"lib{library}.so.{major}"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([*command, str(source)], check=True, timeout=60)
