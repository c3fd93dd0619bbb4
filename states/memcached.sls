#!py
def run():
    """Return the states of memcached alone, on a host that has it."""
    return __salt__["saltern_host.states"]("memcached")
