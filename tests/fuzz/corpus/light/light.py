# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
#       format_version: '1.5'
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# # Titel
#
# Ein Absatz.

import math

# + tags=["keep"]
x = math.pi

print(x)
# -

# ## Ende
