#!py
def run():
    """Return the states of neutron alone, on a host that has it."""
    return __salt__["saltern_host.states"]("neutron")
