#!/usr/bin/env python3
"""Compiles the backend of torch.distributed for the torch that is installed here.

`import tutti.torch` does so by itself where it finds none; by hand it is

  python -m tutti.build_torch            into the cache, for this user
  python -m tutti.build_torch --output F --library L --include I    what the build of the package does

c10d, which the backend is written against, promises no stable binary interface: a file is good for one release of torch.
The cache is TUTTI_PYTHON_CACHE, or tutti/ in XDG_CACHE_HOME or ~/.cache; CXX names the compiler.
"""

import argparse
import contextlib
import fcntl
import hashlib
import mmap
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "torch" / "csrc"
MARK = re.compile(rb"tutti-torch-backend:torch=([^;]*);tutti=([^;]*);")
VERSION = re.compile(r"#define TUTTI_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)")


class CannotBuild(RuntimeError):
    """There is no compiler, or it failed; the text says what to do."""


def built_for(path):
    """{"torch": version, "tutti": version} of a compiled backend, read without loading it."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = MARK.search(data)
        versions = [text.decode() for text in found.groups()] if found else []
    if not versions:
        raise ImportError(f"{path} is not a backend that Tutti compiled.")
    return dict(zip(("torch", "tutti"), versions))


def this_build(include=None):
    """{"torch": version, "tutti": version} of what is installed here."""
    import torch

    header = Path(include or HERE / "include") / "tutti" / "tutti.h"
    return {"torch": str(torch.__version__), "tutti": ".".join(VERSION.findall(header.read_text()))}


def cached_path():
    """Where the cache has, or will have, the backend for this Python, torch and Tutti."""
    if os.environ.get("TUTTI_PYTHON_CACHE"):
        folder = Path(os.environ["TUTTI_PYTHON_CACHE"]).absolute()
    else:
        try:
            folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tutti"
        except RuntimeError as error:  # this user has no home
            raise CannotBuild(f"The backend tutti of torch.distributed is compiled into a cache, and there is no place for it: "
                              f"{error} Name a folder by TUTTI_PYTHON_CACHE.") from error
    versions = this_build()
    text = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()) + [HERE / "include" / "tutti" / "tutti.h"]:
        text.update(path.read_bytes())
    text.update(os.environ.get("TUTTI_PYTHON_LIBRARY", "").encode())
    name = f"_backend-torch{versions['torch']}-tutti{versions['tutti']}-{text.hexdigest()[:12]}"
    return folder / (name + sysconfig.get_config_var("EXT_SUFFIX"))


def compiler():
    """The C++ compiler: CXX, or the first of g++, c++ and clang++ that is there."""
    if os.environ.get("CXX"):
        return os.environ["CXX"].split()
    for name in ("g++", "c++", "clang++"):
        if shutil.which(name):
            return [name]
    raise CannotBuild("The backend tutti of torch.distributed must be compiled once for the torch that is installed, and there "
                      "is no C++ compiler: install g++ (12 or later), or name one by CXX.")


def compile_to(output, library, include):
    """Compiles the backend against libtutti at `library` and the header in `include`; `output` appears whole or not at all."""
    import torch
    from torch.utils import cpp_extension

    output = Path(output)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    versions = this_build(include)
    includes = [*cpp_extension.include_paths(), sysconfig.get_paths()["include"]]
    libraries = Path(torch.__file__).parent / "lib"
    command = compiler() + ["-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,--no-as-needed"]
    command += [f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
                f'-DTUTTI_TORCH_VERSIONS="torch={versions["torch"]};tutti={versions["tutti"]};"']
    command += [option for path in includes for option in ("-isystem", path)] + ["-I", str(include)]
    command += [str(SOURCES / "backend.cpp"), "-o", str(temporary), str(library)]
    command += [f"-L{libraries}", "-lc10", "-ltorch_cpu", "-ltorch", "-ltorch_python"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            said = "\n".join(done.stderr.strip().splitlines()[:20]) or "It said nothing."
            raise CannotBuild(f"{command[0]} could not compile the backend tutti for torch {versions['torch']} (exit status "
                              f"{done.returncode}). It must know C++20 (g++ 12 or later) and find Python.h (Debian: python3-dev); "
                              f"CXX names another compiler.\n{said}\n")
        temporary.replace(output)
    except OSError as error:
        raise CannotBuild(f"{command[0]} could not be run, or {output.parent} not be written: {error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return output


def build(path):
    """Compiles the backend to `path`, by one process of this host; the others wait for it."""
    from . import _library

    compiler()  # before anybody waits
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(path.parent / ".lock", "w")
    except OSError as error:
        raise CannotBuild(f"The backend tutti of torch.distributed is compiled into {path.parent}, which cannot be written: "
                          f"{error}. Name another folder by TUTTI_PYTHON_CACHE.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("tutti.torch: waiting for another process, which compiles the backend", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path
        started = time.monotonic()
        print(f"tutti.torch: compiling the backend for torch {this_build()['torch']}; once, about half a minute",
              file=sys.stderr, flush=True)
        compile_to(path, _library.path(), HERE / "include")
        print(f"tutti.torch: compiled in {time.monotonic() - started:.0f} s: {path}", file=sys.stderr, flush=True)
    return path


def main():
    parser = argparse.ArgumentParser(prog="python -m tutti.build_torch", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", help="the file to make (default: in the cache)")
    parser.add_argument("--library", help="libtutti.so to link with (default: the package's)")
    parser.add_argument("--include", help="the folder with tutti/tutti.h (default: the package's)")
    arguments = parser.parse_args()
    if not __package__:
        sys.path.remove(str(HERE))  # run as a file: a torch lies beside it that is not torch
    try:
        if arguments.output:
            if not (arguments.library and arguments.include):
                parser.error("--output takes --library and --include, too.")
            compile_to(arguments.output, arguments.library, arguments.include)
        else:
            path = cached_path()
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            build(path)
    except CannotBuild as error:
        sys.exit(f"tutti.build_torch: {error}")


if __name__ == "__main__":
    main()
