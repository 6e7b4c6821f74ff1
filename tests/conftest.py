"""Fixtures that every test folder uses."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden numbers and real images beside the checkout; absent outside the project's own machines."""
    if not SHARED.exists():
        pytest.skip("needs ../shared: golden numbers and real images, not part of the repository")
    return SHARED
