"""Modbus as a client: register tables, read plans, RTU and TCP, and one owner per link."""
