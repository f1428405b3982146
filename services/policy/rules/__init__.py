"""The rules, one file each: plain functions that narrow bounds or say what they wish."""
