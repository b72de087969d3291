"""What a job costs, before it starts and after it has ended.

cost    start here: `estimate` a job, or compute the cost from its times
prices  the billed parts of a worker pool, from prices.yaml
"""
