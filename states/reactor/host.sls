#!py
from saltern import hostverbs


def run():
    """Return what the master has learnt of a host: that its minion is there, or that its highstate went well."""
    event = hostverbs.meaning(tag, data)
    return {"learnt": {"runner.saltern.learnt": [{"args": [{"host": data["id"]}, {"event": event}]}]}} if event else {}
