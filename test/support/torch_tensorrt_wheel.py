# SPDX-License-Identifier: Apache-2.0
"""The published Python code of Torch-TensorRT, importable without a GPU and without its libraries.

TensorRT is replaced by its published bindings over stub libraries (`tensorrt_wheels`), and the
queries of a GPU by constants. Everything up to the conversion to TensorRT runs: export, lowering,
the list of converters and partitioning.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.tensorrt_wheels import (
    CACHE,
    BindingsUnavailableError,
    download,
    obtain,
    unpack,
)

ROOT = Path(__file__).parents[2]
_BINDINGS = ("tensorrt-cu12-bindings", "11.4.0.106")
_STAND_INS = {
    "tensorrt/__init__.py": """\
from tensorrt_bindings import *
from tensorrt_bindings import __version__, tensorrt
""",
    "dllist.py": "def dllist(): return []\n",
    "psutil.py": """\
from types import SimpleNamespace
def Process(): return SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=0))
def virtual_memory(): return SimpleNamespace(total=2**34, available=2**33)
""",
    "no_gpu.py": """\
import torch
class Properties:
    name, major, minor, multi_processor_count = "stand-in", 9, 0, 1
if not hasattr(torch._C, "_CudaDeviceProperties"):
    torch._C._CudaDeviceProperties = Properties
torch.cuda.get_device_capability = lambda *_: (9, 0)
torch.cuda.current_device = lambda: 0
torch.cuda.get_device_properties = lambda *_: Properties()
torch.cuda.get_device_name = lambda *_: "stand-in"
torch.cuda.mem_get_info = lambda *_: (2**34, 2**35)
torch.cuda.empty_cache = lambda: None
torch.cuda.synchronize = lambda *_: None
import torch_tensorrt
from torch_tensorrt.dynamo.runtime import _MutableTorchTensorRTModule as mutable
mutable.to_torch_device = lambda _: torch.device("cpu")
mutable.to_torch_tensorrt_device = lambda _: None
""",
}


def obtain_package(version: str) -> Path:
    """Download and unpack the Python code of one version into the cache, unless it is there.

    Raises:
        BindingsUnavailableError: no network, or no place for the cache.

    """
    home = CACHE / f"torch-tensorrt-{version}-cp{sys.version_info.major}{sys.version_info.minor}"
    if not home.exists():
        partial = home.with_name(f"{home.name}.{os.getpid()}")
        try:
            partial.mkdir(parents=True)
            unpack(download("torch-tensorrt", version, partial), partial)
            # The libraries need CUDA; the package runs without them, except for the engines.
            shutil.rmtree(partial / "torch_tensorrt" / "lib")
            for library in (partial / "torch_tensorrt").glob("*.so"):
                library.unlink()
            for name, text in _STAND_INS.items():
                (partial / name).parent.mkdir(exist_ok=True)
                (partial / name).write_text(text, encoding="utf-8")
            partial.rename(home)
        except OSError as error:
            raise BindingsUnavailableError(
                f"the package cannot be stored in {CACHE}: {error}"
            ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return home


def run_with_package(home: Path, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script; `import no_gpu` imports the package over the stand-ins."""
    bindings = obtain(*_BINDINGS)
    path = (home, bindings.package, ROOT, ROOT / "test")
    return subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(bindings.libraries),
            "PYTHONPATH": os.pathsep.join(map(str, path)),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def type_errors(home: Path, code: Path, settings: Path) -> str:
    """Return mypy's report on a file that uses the package; "" without errors."""
    settings.write_text(
        f"[mypy]\nmypy_path = {home}\nexplicit_package_bases = True\nnamespace_packages = True\n"
        "ignore_missing_imports = True\nfollow_imports = silent\n"
        "[mypy-torch,torch.*,tensorrt,tensorrt.*,numpy,numpy.*]\nfollow_imports = skip\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings)]
    command += ["--cache-dir", str(settings.parent / "cache"), str(code)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout if done.returncode else ""
