"""The load on the service: a plan, the Locust subprocess that carries it out, and the request log.

Imports nothing of ours. Locust is imported only inside the Locust subprocess (`locustfile`, `shapes`,
`recording`): gevent patches whatever process it meets.
"""
