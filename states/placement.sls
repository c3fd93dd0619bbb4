#!py
def run():
    """Return the states of placement alone, on a host that has it."""
    return __salt__["saltern_host.states"]("placement")
