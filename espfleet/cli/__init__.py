"""The command line: thin, it turns words into calls of services and answers into tables or JSON."""
