#!py
"""Everything that the site file makes of this host."""

from saltern import highdata


def run():
    return highdata.build(__pillar__["saltern"])
