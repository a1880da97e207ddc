"""What makes event loops, where uvicorn has it: for programs that run a server in a loop of their own."""
