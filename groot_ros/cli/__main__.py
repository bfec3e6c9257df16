"""`python -m groot_ros.cli` is `groot-ros`, where the script is not on the path."""

import sys

from groot_ros.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
