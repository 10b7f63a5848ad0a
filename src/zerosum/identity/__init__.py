"""Who may do what: API keys, users, operators, their sessions, what several of them must agree on, and the account of what they did."""
