"""What all rooms share: options, errors, the clock, a request in the application, and the state of one server."""
