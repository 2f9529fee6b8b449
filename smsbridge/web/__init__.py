"""What is reached over HTTP: the control socket, health, metrics, hooks of the gateways."""
