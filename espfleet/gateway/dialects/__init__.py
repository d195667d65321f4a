"""What devices speak on the gateway: one module a dialect, from its frames to the messages of the domain and back."""
