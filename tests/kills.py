"""How often tests kill what must survive it: `VLDATA_TEST_KILLS`, to be raised for a soak."""

from __future__ import annotations

import os

KILLS = int(os.environ.get("VLDATA_TEST_KILLS", "8"))
"""Kills by each test that kills processes; at least 4, for fewer meet too few moments."""
