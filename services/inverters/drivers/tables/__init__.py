"""Register tables: a device is data."""
