"""Lists the GPUs that this process may use, without loading torch."""

import os
import shutil
import subprocess


def visible_gpus() -> list[str]:
    """Ids for CUDA_VISIBLE_DEVICES: those already set there, else all that nvidia-smi lists; empty without one."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [part.strip() for part in given.split(",") if part.strip() not in ("", "-1")]
    return [line for line in _listed("index") if line.isdigit()]


def gpu_models() -> list[tuple[str, int]]:
    """Name and memory in bytes of each GPU that nvidia-smi lists; empty without one."""
    models = []
    for line in _listed("name,memory.total", "nounits"):
        name, comma, mebibytes = line.rpartition(",")
        if comma:
            models.append((name.strip(), int(mebibytes) << 20 if mebibytes.strip().isdigit() else 0))
    return models


def _listed(what: str, *form: str) -> list[str]:
    """Lines of nvidia-smi about each GPU."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", f"--query-gpu={what}", f"--format={','.join(('csv', 'noheader', *form))}"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listed.stdout.splitlines()]
