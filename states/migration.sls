#!py
"""The migration service alone, on a host that has it."""

from saltern import highdata


def run():
    return highdata.build(__pillar__["saltern"], ["migration"])
