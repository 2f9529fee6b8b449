"""The media store: attachments kept by content, shown small, handed on as links that expire."""
