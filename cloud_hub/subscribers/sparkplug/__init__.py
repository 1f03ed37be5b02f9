"""The live tree once more, in Sparkplug B: organisations are groups, sites edge nodes, meters devices, points metrics."""
