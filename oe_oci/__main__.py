# SPDX-License-Identifier: MIT
"""`python -m oe_oci`."""

import sys

from .cli import main

sys.exit(main())
