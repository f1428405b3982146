"""How Hemma's processes speak and live: actors, the bus, clocks, configuration."""
