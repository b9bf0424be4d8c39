//! Our reader and writer of decks against jupytext, which defined the format.

use clm::testing::course::ProgLang;

use crate::support::jupytext::{Random, compare};

/// Pieces that decks are put together from; `C` stands for the comment sign.
const PIECES: &[&str] = &[
    "C %%\n",
    "C %% [markdown]\n",
    "C%% [markdown] lang=\"de\" tags=[\"slide\"]\n",
    "C %% tags=[\"keep\"] slide_id=\"x\"\n",
    "C %% [raw]\n",
    "C %% some title\n",
    "C %% title [markdown] lang=\"en\"\n",
    "C %% tags=[slide]\n",
    "C %% a=1 b='two' c\n",
    "C %%% deeper\n",
    "C %% {\"tags\": [\"alt\"]}\n",
    "C %% [md]\n",
    "x = 1\n",
    "def f():\n    return 1\n",
    "class A:\n    x = 1\n",
    "@decorator\n",
    "C a comment\n",
    "C\n",
    "C - a\nC - b\n",
    "Ctight\n",
    "\n",
    "\n\n",
    "\n\n\n",
    "print('a')\n",
    "text = \"\"\"\nC %% inside\n\"\"\"\n",
    "'''\nC %% inside\n'''\n",
    "s = \"'''\"\n",
    "%matplotlib inline\n",
    "C %matplotlib inline\n",
    "C !ls\n",
    "!ls -l\n",
    "ls\n",
    "cd x\n",
    "cat = 1\n",
    "C ```python\nC C %% fenced\nC ```\n",
    "C ```\n",
    "for i in range(3):\n    print(i)\n",
    "\"\"\"\nprose in quotes\n\"\"\"\n",
    "    indented\n",
    "C   two blanks\n",
    "y = 2  C trailing\n",
    "C ä ö ü\n",
    "async def g():\n    pass\n",
    "x\n\n\ny\n",
    "C %%time\n",
    "%%time\n",
    "C ?print\n",
];

fn random_deck(seed: u64, comment: &str) -> String {
    let mut random = Random::new(seed);
    let count = 1 + random.below(12);
    let mut text = String::new();
    if random.below(3) > 0 {
        text += "C %%\n";
    }
    for _ in 0..count {
        text += PIECES[random.below(PIECES.len())];
    }
    if random.below(5) == 0 {
        text.truncate(text.trim_end().len());
    }
    text.replace('C', comment)
}

#[test]
fn python_decks_are_read_and_written_as_jupytext_does() {
    let decks = (0..2000).map(|seed| random_deck(seed, "#")).collect();
    compare("py", ProgLang::Python, decks);
}

#[test]
fn java_decks_are_read_and_written_as_jupytext_does() {
    let decks = (0..1000).map(|seed| random_deck(seed, "//")).collect();
    compare("java", ProgLang::Java, decks);
}
