"""The fleet's own certificates: who signs them, the files they are kept in, and both sides of TLS."""
