"""A real Kubernetes node on this machine, with PostgreSQL in it, shared by the demo and the tests.

``python3 -m dev.localcluster up`` from the top of the repository builds and starts it; ``cluster.up()`` and
``cluster.connect()`` are the same for Python. Only the standard library is used, so that it runs before
anything is installed. ``docs/local-cluster.md`` describes it, ``parts.py`` lists what it is made of.
"""
