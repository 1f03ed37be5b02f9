"""The part of Meterhaul that receives, keeps and shows readings."""
