from __future__ import annotations

import errno
from pathlib import Path

import pytest
from conftest_types import MakeBuild

from vldata.errors import BuildError, StoreError, VldataError
from vldata.export import FORMS, export
