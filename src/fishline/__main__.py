"""`python src/fishline STAGE`: the code of this very checkout, installed or not.

The stages in dvc.yaml start this way. An experiment that DVC runs in a temporary copy of the
project must run that copy's code, not whatever checkout the environment was installed from.
"""

import sys
from pathlib import Path

if not __package__:
    # Run as a folder, Python puts the folder itself on the path; its parent holds the package.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from fishline.cli.main import main

main()
