"""SunSpec by discovery: model definitions, the walk along a device's models, and a profile made of what it finds."""
