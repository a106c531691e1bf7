"""A Debian kernel for tests/rdma/guest: fetched by apt-get and unpacked into a cache, never installed.

The cache is tutti/guest/ in XDG_CACHE_HOME or ~/.cache, with a folder for each kernel and version of this file (about 70 MB).
What is there is used; the newest kernel is fetched when nothing is.
"""
import fcntl
import hashlib
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

PACKAGE = "linux-image-amd64"  # depends on the newest kernel; that of clouds has no rdma_rxe
MODULES = ("virtio_pci", "virtio_console", "virtio_rng", "virtio_net", "9p", "9pnet_virtio", "overlay", "dummy", "crc32_generic",
    "crc32_pclmul", "rdma_rxe", "rdma_ucm")


class Unavailable(Exception):
    """No kernel is to be had on this machine; the text says why."""


def folder():
    """Where a kernel lies: `image`, and in `modules` the modules, whose names sort as they must be loaded."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tutti" / "guest"
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]

    def latest():
        return max(cache.glob(f"linux-image-*-{version}"), key=lambda path: path.stat().st_mtime, default=None)

    if not latest():
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not latest():  # else another process made it
                for draft in cache.glob("draft-*"):  # of a process that was killed
                    shutil.rmtree(draft)
                with tempfile.TemporaryDirectory(prefix="draft-", dir=cache) as draft:
                    (made := Path(draft) / "made").mkdir()
                    package = fetch(Path(draft))
                    unpack(Path(draft) / "package", made)
                    made.rename(cache / f"{package}-{version}")
    return latest()


def apt(*command, folder=None):
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError:
        raise Unavailable(f"there is no {command[0]}, which knows where Debian's kernels are") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip() or f'exit status {done.returncode}'}; try apt-get update")
    return done.stdout


def fetch(draft):
    """Downloads the newest kernel, of which apt checks the signature, and unpacks it into draft/package.  Its name and version."""
    depends = re.search(r"Depends: (linux-image-\S+)", apt("apt-cache", "depends", PACKAGE))
    if not depends:
        raise Unavailable(f"apt knows no package {PACKAGE} (this takes Debian on x86-64); try apt-get update")
    apt("apt-get", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30", "download", depends.group(1), folder=draft)
    (file,) = draft.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", file, draft / "package"], check=True)
    return file.stem


def unpack(package, target):
    (image,) = (package / "boot").glob("vmlinuz-*")
    (target / "image").write_bytes(uncompressed_image(image.read_bytes()))
    files = {}
    for path in package.rglob("*.ko*"):
        files[path.name.split(".ko")[0].replace("-", "_")] = path
    (target / "modules").mkdir()
    for number, (name, content) in enumerate(in_load_order(files).items()):
        (target / "modules" / f"{number:02}-{name}.ko").write_bytes(content)


def uncompressed_image(image):
    """The ELF file inside: unpacking itself would take the kernel seconds under emulation.  The image as it is, unless by xz."""
    offset, size = struct.unpack_from("<II", image, 0x248)  # payload_offset and payload_length of the x86 boot protocol
    start = (image[0x1F1] + 1) * 512 + offset
    payload = image[start:start + size]
    return lzma.LZMADecompressor().decompress(payload) if payload.startswith(b"\xfd7zXZ\0") else image


def in_load_order(files):
    """The contents of MODULES and of all that they depend on, each after those that it depends on."""
    contents = {}

    def load(name):
        if name in contents or name not in files:  # not there: a part of the kernel itself
            return
        path = files[name]
        content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        depends = re.search(rb"\0depends=([^\0]*)\0", content)
        for other in depends.group(1).decode().split(",") if depends else ():
            load(other.replace("-", "_"))
        contents[name] = content

    for name in MODULES:
        load(name)
    return contents
