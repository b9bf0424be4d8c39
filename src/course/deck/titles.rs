//! Headers with one title for all languages, `header("Title")`, or with titles by language, `header(fr="Titre",
//! en="Title")`. CLM has neither of them, only `header("Titel", "Title")`: first German, then English.
//!
//! A macro cannot tell an argument that was left out from one without a value, which is a mistake. So `header` is an
//! object that gets the macro of CLM and the one that makes the cell of a title.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Kwargs, Object, Value};
use minijinja::{Error, State};

use crate::course::Lang;

/// The header macro, as decks call it.
struct Header {
    /// The macro of CLM.
    two: Value,
    /// The macro of the cell of one title: `_title(title, language, indent)`.
    cell: Value,
    /// What differs between the programming languages.
    package: Value,
    /// The language of the view.
    lang: Option<Lang>,
}

/// A title and its only language; `None` is for all languages.
type Title = (Option<Lang>, Value);

/// Returns the header macro for a view in this language: see [`Header`].
pub(super) fn header(two: Value, cell: Value, package: Value, lang: &str) -> Value {
    let lang = Lang::parse(lang);
    Value::from_object(Header {
        two,
        cell,
        package,
        lang,
    })
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<macro header>")
    }
}

impl Object for Header {
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        match self.titles(args) {
            Some(titles) => self.cells(state, &titles),
            None => self.two.call(state, args),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<macro header>")
    }
}

impl Header {
    /// Returns the titles, or `None` if the macro of CLM gets the arguments, to make cells of them or to report them as
    /// wrong.
    fn titles(&self, args: &[Value]) -> Option<Vec<Title>> {
        let named = args.last().filter(|value| !value.is_undefined());
        let named = named.and_then(|value| Kwargs::try_from(value.clone()).ok());
        let titles = match (args, named) {
            ([title], None) => return Some(vec![(None, title.clone())]),
            ([_], Some(named)) => by_language(&named)?,
            ([de, en], None) if self.lang.is_some_and(|lang| !lang.is_usual()) => {
                vec![(Some(Lang::DE), de.clone()), (Some(Lang::EN), en.clone())]
            }
            _ => return None,
        };
        let has = |wanted: Lang| titles.iter().find(|(lang, _)| *lang == Some(wanted));
        // A view in another language has the title that names its file.
        let missing = self
            .lang
            .filter(|lang| has(*lang).is_none())
            .and_then(|lang| {
                let (_, title) = has(Lang::EN).or_else(|| {
                    let languages = titles.iter();
                    languages.min_by_key(|(lang, _)| *lang)
                })?;
                Some((Some(lang), title.clone()))
            });
        Some(titles.into_iter().chain(missing).collect())
    }

    /// Returns the cells of titles as CLM writes them: the caller's line has the comment sign of the first one.
    fn cells(&self, state: &mut State<'_, '_>, titles: &[Title]) -> Result<Value, Error> {
        let comment = self.package.get_attr("comment")?;
        let mut text = String::new();
        for (lang, title) in titles {
            if !text.is_empty() {
                text.push_str("\n\n");
                text.push_str(comment.as_str().unwrap_or_default());
                text.push(' ');
            }
            let indent = match *lang {
                Some(Lang::DE) => "indent_de",
                _ => "indent_en",
            };
            let name = lang.as_ref().map_or("", Lang::name);
            let args = [title.clone(), name.into(), self.package.get_attr(indent)?];
            let cell = self.cell.call(state, &args)?;
            let cell = cell.as_str().unwrap_or_default();
            match lang {
                Some(_) => text.push_str(cell),
                None => text.push_str(&cell.replacen(" lang=\"\"", "", 1)),
            }
        }
        text.push('\n');
        Ok(text.into())
    }
}

/// Returns titles by language in the order of the author, or `None` if a name is not a language.
fn by_language(named: &Kwargs) -> Option<Vec<Title>> {
    let title = |name: &str| Some((Some(Lang::parse(name)?), named.peek(name).ok()?));
    named.args().map(title).collect()
}
