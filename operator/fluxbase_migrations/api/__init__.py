"""The resource: models of its spec and status, its conditions and reasons, and the CRD made from them."""
