# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown] lang="de" tags=["slide", "alt"] slide_id="x-1"
# # Titel {#x}
"""
mehr Text
"""

# %% Titel [markdown] a=1 b="c" d={"e": [1, null]}
# - a

# %% tags=["workshop", "start"]
%matplotlib inline
!ls
def f():
    """# %% not a cell"""
