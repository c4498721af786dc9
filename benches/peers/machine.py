"""What a result page says about the machine and the programs, and how the other side is run."""

import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


class Kiln:
    """The other contestant, through its command line."""

    def __init__(self, binary, script):
        self.binary, self.script = str(binary), script

    def run(self, *arguments):
        """What a command prints, an object; a command that fails ends the comparison with what it said."""
        done = subprocess.run([self.binary, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{self.script}: kiln {' '.join(map(str, arguments))} failed: {done.stderr.strip()}")
        return json.loads(done.stdout)


def output(command):
    """First line that a command prints, or ``unknown``."""
    if shutil.which(command[0]) is None:
        return "unknown"
    lines = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    return lines[0] if lines else "unknown"


def cpu():
    """Model name of the processor and its vector width."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    fields = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    flags = fields.get("flags", "").split()
    width = next((name for name in ("avx512f", "avx2") if name in flags), "no AVX2")
    return f"{fields.get('model name', 'unknown')} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}, {width})"


def facts(kiln, threads, load):
    """The list at the end of a page: date, machine, versions."""
    import torch

    return f"""- Date: {datetime.date.today().isoformat()}
- Processor: {cpu()}; {os.cpu_count()} cores, {threads} threads used; load before the start {load:.2f}
- System: {platform.system()} {platform.release()}, {platform.machine()}
- PyTorch {torch.__version__}, Python {platform.python_version()}, {output(["g++", "--version"])}
- Kiln: {output([kiln, "--version"])}, commit {output(["git", "rev-parse", "--short", "HEAD"])}; {output(["rustc", "--version"])}"""


def busy(load):
    """A warning for pages made on a machine that had something else to do."""
    return f"\n**The machine was not idle** (load {load:.2f} before the start): compare nothing.\n" if load > 0.5 else ""
