# %% [markdown] lang="de" tags=["slide"] slide_id="a"
# # Titel

# %% tags=["keep"]
x = 1

=====
# %% [markdown] lang="de" tags=["voiceover"] for_slide="a"
# Was dazu gesagt wird
