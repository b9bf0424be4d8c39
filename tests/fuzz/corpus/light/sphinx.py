# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: sphinx
# ---

"""
Titel
=====
"""

x = 1

###############################################################################
# Text

print(x)
