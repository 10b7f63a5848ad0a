"""What people and operators ask for over HTTP: logging in, API keys, money in and out, and the running of the exchange."""
