"""NVIDIA cards as the operating system sees them, without torch."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SMI = "nvidia-smi"
INSTALLER = "ubuntu-drivers"
DRIVER = Path("/proc/driver/nvidia/version")
DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # the second is that of Windows' Linux, WSL
PCI = Path("/sys/bus/pci/devices")
VENDOR, DISPLAY = "0x10de", "0x03"  # NVIDIA, and the class of graphics cards
# Oldest driver for each major version of CUDA, by NVIDIA's table of minor version compatibility, and builds of torch.
BUILDS = ((580, "cu130"), (525, "cu126"), (450, "cu118"))
INDEX = "https://download.pytorch.org/whl/"


@dataclass(frozen=True)
class Card:
    """What was seen of an NVIDIA card.

    Args:
        evidence: for the user, what was seen.
        driver: such as 535.104.05; None where none runs.
        reachable: whether this process, which may be in a container, has the card's device file.
        on_the_bus_alone: whether no sign of a driver was seen, not even a broken one.
    """

    evidence: str
    driver: str | None
    reachable: bool
    on_the_bus_alone: bool = False


def find_card() -> Card | None:
    """What the system shows of NVIDIA cards, or None if it shows nothing."""
    smi = _nvidia_smi()
    driver = _driver(smi)
    reachable = sys.platform != "linux" or any(device.exists() for device in DEVICES)
    if smi and re.search(r", \d", smi):
        return Card(smi.splitlines()[0], driver, reachable)
    if driver:
        return Card(smi or f"the NVIDIA driver {driver} is loaded", driver, reachable)
    if smi:
        return Card(f"nvidia-smi says: {smi.splitlines()[0]}", None, reachable)
    if _on_the_bus():
        return Card("an NVIDIA card is built in", None, reachable, on_the_bus_alone=True)
    return None


def build_for(driver: str | None) -> str | None:
    """The name of torch's build that this driver can run, or None if it is too old for all."""
    major = int(driver.split(".")[0]) if driver else 0
    return next((build for oldest, build in BUILDS if major >= oldest), None)


def install_driver() -> str:
    """How to get a new driver: Ubuntu has a command, other systems have NVIDIA's page."""
    return f"sudo {INSTALLER} install && sudo reboot" if shutil.which(INSTALLER) else "https://www.nvidia.com/drivers"


def _nvidia_smi() -> str:
    """Name, driver and memory of each card, or the complaint of nvidia-smi; empty where it is not installed."""
    program = shutil.which(SMI)
    if program is None:
        return ""
    query = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi does not answer ({type(error).__name__})"
    return (done.stdout if done.returncode == 0 else done.stdout + done.stderr).strip()


def _driver(smi: str) -> str | None:
    found = re.search(r",\s*(\d{3}\.[\d.]+)", smi)
    if not found and DRIVER.is_file():
        found = re.search(r"\s(\d{3}\.[\d.]+)\s", DRIVER.read_text())
    return found[1] if found else None


def _on_the_bus() -> bool:
    return any(
        _text(device / "vendor") == VENDOR and _text(device / "class").startswith(DISPLAY) for device in PCI.glob("*")
    )


def _text(file: Path) -> str:
    return file.read_text().strip() if file.is_file() else ""
