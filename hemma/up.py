"""`hemma up`: check the configuration, then hand over to the supervisor."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from hemma import registry
from hemma.broker import BrokerMissingError
from hemma.supervisor import Supervisor
from runtime.config import BrokerConfig, ConfigError, load
from runtime.process import EXIT_CONFIG, configure_logging


def up(
    config_file: Path,
    state_dir: Path,
    *,
    names: Iterable[str] | None = None,
    with_broker: bool = True,
    log_format: str = "text",
) -> int:
    """Start everything and keep it running; returns the exit code.

    Args:
        config_file: site.yaml.
        state_dir: For credentials, stores and the broker's own files.
        names: The services to start; None: all.
        with_broker: Start Mosquitto too.
        log_format: `json` or `text`.
    """
    configure_logging(log_format)
    # numpy's worker threads would not survive the fork, and the windows are too small for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        config = load(config_file, {"broker": BrokerConfig, **registry.sections()})
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    settings = config["broker"]
    assert isinstance(settings, BrokerConfig)  # noqa: S101  load() returns the models it was given
    supervisor = Supervisor(config_file, state_dir, log_format)
    if with_broker:
        try:
            supervisor.add_broker(settings.port, settings.credentials_dir)
        except BrokerMissingError as error:
            print(error, file=sys.stderr)
            return 69  # EX_UNAVAILABLE
    supervisor.add_services(names or registry.NAMES)
    return supervisor.run()
