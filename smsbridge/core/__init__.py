"""What a message is, where it goes and when; knows no gateway, no database and no reactor."""
