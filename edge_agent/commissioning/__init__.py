"""What a technician sees and does on site."""
