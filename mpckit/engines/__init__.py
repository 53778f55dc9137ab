"""Parties as ipyparallel engines: processes of their own that plan, deal and compute what a notebook asks for.

`team` what the user calls: cluster, Team.run · `ownership` only(owner, value) · `seat` what happens on an engine ·
`processes` starting, watching and ending them · `watchdog` ends them when the notebook is gone · `failures` who
failed, and why · `progress` two bars

Whoever runs the notebook hands the engines code and data: a cluster is one domain of trust.
"""
