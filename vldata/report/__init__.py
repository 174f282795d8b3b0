"""The page of a build, of two builds side by side, and of an ablation: one self-contained HTML file each.

A page is a function of what it shows: no time, no absolute path and no name of a machine stands in it. It requests
nothing from a network, needs no script, and shows everything that came from data as inert text.
"""
