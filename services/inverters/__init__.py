"""Inverters and the batteries behind them: poll, apply setpoints, fall back when they stop."""
