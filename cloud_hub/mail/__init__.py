"""Letters by e-mail: written into an outbox with the deed that they tell of, sent by `work`."""
