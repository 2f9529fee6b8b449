"""The HTTP API: what the browser's inbox and programs ask, as JSON:API documents."""
