"""What acts in somebody's name without a browser: API tokens, logins of apps, service accounts."""
