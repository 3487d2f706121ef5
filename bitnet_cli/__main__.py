"""`python -m bitnet_cli` is `bitnet`."""

import sys

from bitnet_cli.cli.app import main

sys.exit(main())
