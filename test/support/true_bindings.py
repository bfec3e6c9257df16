"""The true Python bindings of TensorRT, importable where its libraries are not.

The extension module of a `tensorrt-*-bindings` wheel needs three shared libraries and nine C
functions of them at import. With stand-ins for these it shows every class, method, enum and
signature of its version; making a Builder or a Runtime then fails in an orderly way.
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


class UnobtainableError(Exception):
    """Why there are no bindings here."""


@dataclass(frozen=True)
class Bindings:
    """One version, unpacked, with its stand-in libraries."""

    version: str
    package: Path
    libraries: Path

    def run(self, arguments: Sequence[str], *path: Path) -> "subprocess.CompletedProcess[str]":
        """Python in a process of its own, where `import tensorrt_bindings` works."""
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
    """Download, unpack and link one version, once; raises UnobtainableError with the reason."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    home = CACHE / f"{wheel}-{version}-{python}"
    if not (home / "ready").exists():
        # Into a folder of its own first: two test runs may do this at once.
        partial = home.with_name(f"{home.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
        except OSError as error:
            raise UnobtainableError(f"there is no place to keep the bindings: {error}") from None
        try:
            _unpack(_download(wheel, version, partial), partial / "package")
            _link_stand_ins(partial / "libraries", version.partition(".")[0])
            (partial / "ready").touch()
            shutil.rmtree(home, ignore_errors=True)
            partial.rename(home)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return Bindings(version, home / "package", home / "libraries")


def _download(wheel: str, version: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--retries", "1", "--timeout", "15"]
    command += ["--only-binary=:all:", "--dest", str(folder), f"{wheel}=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=45, check=False)
    except subprocess.TimeoutExpired:
        raise UnobtainableError(f"{wheel} {version}: the download takes too long") from None
    found = list(folder.glob("*.whl"))
    if not found:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UnobtainableError(f"{wheel} {version} cannot be downloaded: {reason}")
    return found[0]


def _unpack(wheel: Path, package: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(package)
    wheel.unlink()


def _link_stand_ins(folder: Path, major: str) -> None:
    folder.mkdir()
    compiler = shutil.which("gcc")
    if compiler is None:
        raise UnobtainableError("there is no gcc to build the stand-in libraries with")
    source = folder / "stand_in.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS))
    for library in _LIBRARIES:
        name = f"lib{library}.so.{major}"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([*command, str(source)], check=True, timeout=60)
