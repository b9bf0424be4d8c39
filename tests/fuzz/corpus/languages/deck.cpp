A// %% [markdown] lang="en"
// # Title

// %% tags=["keep"]
#include <vector>
int f(int a) { return a; }

// %%
std::vector<int> v{1, 2};
f(1)
