#!py
def run():
    """Return the states of nova alone, on a host that has it."""
    return __salt__["saltern_host.states"]("nova")
