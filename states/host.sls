#!py
def run():
    """Return everything that the site file makes of this host."""
    return __salt__["saltern_host.states"]()
