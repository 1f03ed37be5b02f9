"""The part of Meterhaul that runs on a site controller: poll, buffer, forward."""
