//! The text of a deck, in any combination of languages, from one list of cells.

use crate::course::Lang;

use super::Settings;
use super::texts::Texts;

/// The cells of a deck, in order.
pub(super) struct Deck<'a> {
    settings: &'a Settings,
    text: String,
}

impl<'a> Deck<'a> {
    /// Begins a deck with its title slides.
    pub(super) fn new(settings: &'a Settings, title: impl Fn(&'static Texts) -> &'a str) -> Self {
        let comment = settings.prog_lang.comment();
        let titles: Vec<(Lang, String)> = settings
            .texts()
            .map(|(lang, texts)| (lang, quoted(title(texts))))
            .collect();
        let text_in = |wanted: Lang| titles.iter().find(|(lang, _)| *lang == wanted);
        let arguments = match titles.as_slice() {
            [(_, title)] => title.clone(),
            // The form that CLM has, too.
            [_, _]
                if let (Some((_, de)), Some((_, en))) = (text_in(Lang::DE), text_in(Lang::EN)) =>
            {
                format!("{de}, {en}")
            }
            all => {
                let named = all.iter().map(|(lang, title)| format!("{lang}={title}"));
                named.collect::<Vec<_>>().join(", ")
            }
        };
        let text = format!(
            "{comment} j2 from 'macros.j2' import header\n{comment} {{{{ header({arguments}) }}}}\n"
        );
        Self { settings, text }
    }

    /// Adds a text cell, with a cell for each language.
    pub(super) fn text(
        &mut self,
        tags: &[&str],
        text: impl Fn(Lang, &'static Texts) -> String,
    ) -> &mut Self {
        for (lang, texts) in self.settings.texts() {
            self.begin(
                " [markdown]",
                self.settings.is_marked().then_some(lang),
                tags,
            );
            let comment = self.settings.prog_lang.comment();
            for line in text(lang, texts).lines() {
                let line = format!("{comment} {line}");
                self.text += line.trim_end();
                self.text += "\n";
            }
        }
        self
    }

    /// Adds a cell of code, with a cell for each language if they differ.
    pub(super) fn code(
        &mut self,
        tags: &[&str],
        code: impl Fn(&'static Texts) -> String,
    ) -> &mut Self {
        let cells: Vec<(Lang, String)> = self
            .settings
            .texts()
            .map(|(lang, texts)| (lang, code(texts)))
            .collect();
        let is_same = cells.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let count = if is_same { 1 } else { cells.len() };
        for (lang, code) in &cells[..count.min(cells.len())] {
            self.begin("", (!is_same).then_some(*lang), tags);
            self.text += code;
            self.text += "\n";
        }
        self
    }

    /// Returns the text.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn begin(&mut self, kind: &str, lang: Option<Lang>, tags: &[&str]) {
        let comment = self.settings.prog_lang.comment();
        self.text += &format!("\n{comment} %%{kind}");
        if let Some(lang) = lang {
            self.text += &format!(" lang=\"{lang}\"");
        }
        if !tags.is_empty() {
            self.text += &format!(" tags=[\"{}\"]", tags.join("\", \""));
        }
        self.text += "\n";
    }
}

/// Returns a title as an argument of the header macro.
fn quoted(title: &str) -> String {
    let title = title.replace('\\', "/");
    match (title.contains('"'), title.contains('\'')) {
        (false, _) => format!("\"{title}\""),
        (true, false) => format!("'{title}'"),
        (true, true) => format!("\"{}\"", title.replace('"', "'")),
    }
}

/// Returns an image in a text cell.
pub(super) fn image(name: &str, alt: &str, width: u32) -> String {
    format!("<img src=\"img/{name}\" alt=\"{alt}\" width=\"{width}%\"/>")
}
