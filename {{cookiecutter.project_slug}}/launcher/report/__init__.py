"""A run as one page. It draws sections by their kind and knows no problem.

report      start here: `write` the page of a run
sections    prepare the sections for sections.html
charts      figures as data URIs
baselines   simple models beside a run
runs        read a run directory
numbers     numbers as people read them
comparison  tables of many runs; which of them may be ranked
pairs       which of two runs, or settings, is better
"""
