"""Creating once what was asked for twice: answers kept by the Idempotency-Key of the request."""
