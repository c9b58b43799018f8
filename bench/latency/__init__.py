"""From `kubectl apply` to Applied, beside Jobs that do nothing."""
