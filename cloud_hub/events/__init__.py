"""What happens, told to whoever subscribed: written with the deed, read by streams, webhooks and broker topics."""
