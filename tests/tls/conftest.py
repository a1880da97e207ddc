"""What is not looked at where cryptography is not installed, as on PyPy, for which it has no wheel."""

from __future__ import annotations

import importlib.util

collect_ignore = ["test_distinguished_name.py"] if importlib.util.find_spec("cryptography") is None else []
