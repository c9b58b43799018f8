"""What every process needs: settings, logs, metrics, health endpoints, leader election."""
