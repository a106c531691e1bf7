"""tests/rdma/guest: what runs in the virtual machine sees devices that work, and its output and end come through.

usage: guest_test.py GUEST [-v] [TEST …]
"""
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

GUEST = os.path.abspath(sys.argv.pop(1))
SKIPPED = 77
only_in_full = unittest.skipUnless(os.environ.get("RDMA_TEST_FULL") == "1", "RDMA_TEST_FULL=1 runs it; other tests show the same")

# A client tries until its server listens; both must end with 0.
PINGPONG = """
ibv_rc_pingpong -d $1 -g 1 -n 100 >/dev/null &
until ibv_rc_pingpong -d $2 -g 1 -n 100 $3 2>/dev/null; do kill -0 $! || exit 1; done
wait $!
"""


def guest(*arguments, **options):
    return subprocess.run([GUEST, *arguments], capture_output=True, text=True, **options)


def machine_of(program):
    """The process that is QEMU, once it is."""
    while True:
        with open(f"/proc/{program}/task/{program}/children") as children:
            for child in children.read().split():
                with contextlib.suppress(OSError), open(f"/proc/{child}/comm") as name:  # it may have ended
                    if name.read().startswith("qemu"):
                        return int(child)


class Guest(unittest.TestCase):
    @only_in_full
    def test_devices_work(self):
        """By themselves and with each other."""
        done = guest("--devices", "2", "bash", "-ec", f"""
            for device in rxe0 rxe1; do
              ibv_devinfo -d $device | grep state:
              cat /sys/class/infiniband/$device/ports/1/gids/1
            done
            pingpong() {{ {PINGPONG} }}
            pingpong rxe0 rxe0 10.0.1.1
            pingpong rxe0 rxe1 10.0.1.1
            pingpong rxe1 rxe0 10.0.1.11
            dmesg --level=emerg,alert,crit,err >&2
            sleep 1000000 &""")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        lines = done.stdout.splitlines()
        states, gids = [line.split() for line in lines if "state:" in line], [line for line in lines if line.startswith("0000:")]
        self.assertEqual(states, [["state:", "PORT_ACTIVE", "(4)"]] * 2)
        self.assertEqual(gids, ["0000:0000:0000:0000:0000:ffff:0a00:0101", "0000:0000:0000:0000:0000:ffff:0a00:010b"])
        self.assertEqual(done.stdout.count("100 iters in"), 3)

    @only_in_full
    def test_two_hosts(self):
        """And a command that a signal ends, which is told as a shell does."""
        done = guest("--hosts", "2", "--devices", "2", "bash", "-c", """
            if [ $GUEST_INDEX = 0 ]; then
              ibv_rc_pingpong -d rxe0 -g 1 -n 100 | grep iters
            else
              until ibv_rc_pingpong -d rxe1 -g 1 -n 100 10.0.1.1 2>/dev/null | grep iters; do :; done
              kill -KILL $$
            fi""")
        self.assertEqual((done.returncode, done.stderr), (137, "guest: the command ended with status 137 in guest 1.\n"), done)
        self.assertRegex("\n".join(sorted(done.stdout.splitlines())), r"^0: 100 iters in [^\n]*\n1: 100 iters in [^\n]*$")

    def test_words_environment_folder_and_streams(self):
        words = ["", "two words", "it's \"$HOME\"", "new\nline", "back\\slash *", "ä"]
        environment = {**os.environ, "GUEST_TEST_VARIABLE": "'a' \"b\"\n$c"}
        folder = os.path.dirname(os.path.abspath(__file__))
        done = guest("--", sys.executable, "-c",
            "import os, sys; print(sys.argv[1:], os.environ['GUEST_TEST_VARIABLE'], os.getcwd(), sys.stdin.read(), flush=True);"
            "open('guest_test.py', 'w').write('gone'); os.write(1, bytes(range(256)));"
            "print('aside', file=open('/dev/stderr', 'w')); sys.exit(3)",
            *words, env=environment, cwd=folder, errors="surrogateescape")
        text = f"{words} {environment['GUEST_TEST_VARIABLE']} {folder} \n"
        self.assertEqual(done.stdout, text + os.fsdecode(bytes(range(256))).replace("\r", "\n"))
        self.assertEqual((done.returncode, done.stderr), (3, "aside\n"))
        with open(__file__, encoding="utf-8") as file:
            self.assertNotEqual(file.read(), "gone")

    def test_a_command_that_does_not_end_is_killed(self):
        done = guest("--limit", "6", "sleep", "1000000")
        self.assertEqual(done.returncode, 124, done)
        self.assertRegex(done.stderr, r"^guest: the command did not end within 6 s in guest 0, so it was killed; --limit gives")

    def test_the_machine_ends_with_its_program(self):
        for number, status in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
            program = subprocess.Popen([GUEST, "sleep", "1000000"])
            machine = os.pidfd_open(machine_of(program.pid))
            program.send_signal(number)
            self.assertEqual(program.wait(), status)
            select.select([machine], [], [])  # readable when QEMU has ended
            os.close(machine)

    def test_a_guest_that_breaks_is_told(self):
        done = guest("--memory", "nonsense", "true")
        self.assertEqual(done.returncode, 125)
        self.assertRegex(done.stderr, r"^guest: guest 0 ended before its command did, .*\nIts last words:\n.*nonsense")

    def test_what_is_missing_is_named(self):
        done = subprocess.run([sys.executable, GUEST, "true"], env={"PATH": "/nowhere"}, capture_output=True, text=True)
        self.assertEqual(done.returncode, SKIPPED, done)
        self.assertRegex(done.stderr, r"^guest: .*apt-get install --no-install-recommends qemu-system-x86 busybox-static\n$")

    def test_a_kernel_that_cannot_be_had_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            for program in ("qemu-system-x86_64", "busybox"):  # and no apt
                os.symlink(shutil.which(program), f"{folder}/{program}")
            done = subprocess.run([sys.executable, GUEST, "true"], env={"PATH": folder, "XDG_CACHE_HOME": folder + "/cache"},
                capture_output=True, text=True)
            self.assertEqual(done.returncode, SKIPPED, done)
            self.assertEqual(done.stderr,
                "guest: there is no kernel for the guest: there is no apt-cache, which knows where Debian's kernels are.\n")
            self.assertEqual(os.listdir(folder + "/cache/tutti/guest"), ["lock"])


if __name__ == "__main__":
    if (there := guest("--fetch")).returncode == SKIPPED:
        print(there.stderr, end="")
        sys.exit(SKIPPED)
    unittest.main()
