"""Parties as ipyparallel engines: processes of their own that plan, deal and compute what a notebook asks for.

`team` what the user calls: cluster, Team.run · `ownership` only(owner, value) · `seat` what happens on an engine ·
`running` functions on all of them at once · `interrupts` when Ctrl-C reaches them · `processes` starting, watching and
ending them · `remote` those that others started · `watchdog` ends them when the notebook is gone · `failures` who
failed, and why · `progress` two bars · `magics` and `cells` %%parties and %%party k

Whoever runs the notebook hands the engines code and data: a cluster is one domain of trust.
"""
