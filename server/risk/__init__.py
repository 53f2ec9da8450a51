"""Portfolio risk: how much a set of positions can lose, measured from returns. Pure functions over numpy arrays.

Money here is a float: these are statistics, and none of them goes back into a balance. A loss is positive.
"""
