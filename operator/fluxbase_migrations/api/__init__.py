"""The resource: models of its spec and status, and the CustomResourceDefinition made from them."""
