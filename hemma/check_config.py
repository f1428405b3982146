"""`hemma check-config`: everything that is wrong with a site.yaml, at once."""

import sys
from pathlib import Path

from hemma import registry
from runtime.config import BrokerConfig, ConfigError, load
from runtime.process import EXIT_CONFIG


def check_config(file: Path) -> int:
    """Print every problem with file, line, key and what would be right.

    Returns:
        0 when the file is good, 78 (EX_CONFIG) when it is not.
    """
    try:
        load(file, {"broker": BrokerConfig, **registry.sections()})
    except ConfigError as error:
        print(error, file=sys.stderr)
        count = len(error.problems)
        print(f"{count} problem{'' if count == 1 else 's'} in {file}", file=sys.stderr)
        return EXIT_CONFIG
    print(f"{file} is good")
    return 0
