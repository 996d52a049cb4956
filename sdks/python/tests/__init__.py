"""Tests of the Python SDK: `python3 -m unittest discover -t . -s tests` in sdks/python."""
