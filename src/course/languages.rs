//! The languages of outputs, texts in several of them, and the words that outputs have in each.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::words::nearest;

/// The language of an output: a code of ISO 639, of two or three lower-case letters. They are ordered by code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lang([u8; 3]);

/// The codes of ISO 639-1. Of two letters, only these are languages, so that a mistyped code does not become the name
/// of a directory.
const TWO_LETTERS: &str = "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy \
    da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii \
    ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr \
    ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk \
    sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za \
    zh zu";

/// Codes of ISO 639-2 that stand for no language.
const NO_LANGUAGE: [&str; 4] = ["mis", "mul", "und", "zxx"];

impl Lang {
    /// German.
    pub const DE: Self = Self(*b"de\0");
    /// English.
    pub const EN: Self = Self(*b"en\0");
    /// The languages of a course whose specification names none, in their order. They are those of CLM.
    pub const USUAL: [Self; 2] = [Self::DE, Self::EN];
    /// Marks a text that is the same in every language.
    const ANY: Self = Self(*b"und");

    /// Returns the code, such as `de`.
    pub fn name(&self) -> &str {
        let length = if self.0[2] == 0 { 2 } else { 3 };
        std::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }

    /// Parses a code as in the specification and on the command line. [`FromStr`] says what is wrong with others.
    pub fn parse(text: &str) -> Option<Self> {
        let lang = Self::of_letters(text)?;
        let is_language = match text.len() {
            2 => TWO_LETTERS.split(' ').any(|code| code == text),
            _ => !NO_LANGUAGE.contains(&text),
        };
        is_language.then_some(lang)
    }

    /// Returns whether CLM has this language.
    pub fn is_usual(self) -> bool {
        Self::USUAL.contains(&self)
    }

    /// Returns the English name of the language, if clm knows it, else its code.
    pub(crate) fn english(&self) -> &str {
        let known = WORDS.iter().find(|words| words.code == self.name());
        known.map_or(self.name(), |words| words.english)
    }

    /// Returns the words of the language; those of English if clm does not know them.
    pub(crate) fn words(self) -> &'static Words {
        let words = |code: &str| WORDS.iter().find(|words| words.code == code);
        words(self.name()).unwrap_or(&ENGLISH)
    }

    fn of_letters(text: &str) -> Option<Self> {
        let is_code =
            matches!(text.len(), 2 | 3) && text.bytes().all(|byte| byte.is_ascii_lowercase());
        let mut code = [0; 3];
        is_code.then(|| {
            code[..text.len()].copy_from_slice(text.as_bytes());
            Self(code)
        })
    }
}

/// The error that a text is not the code of a language; its text has a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoLanguage(Option<&'static str>);

impl fmt::Display for NoLanguage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(meant) => write!(f, "did you mean `{meant}`?"),
            None => f.write_str(
                "a language is a code of two or three small letters, such as `de`, `en` or `fr`",
            ),
        }
    }
}

impl std::error::Error for NoLanguage {}

impl FromStr for Lang {
    type Err = NoLanguage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or_else(|| NoLanguage(meant(text)))
    }
}

/// Returns the code that a wrong one was probably meant to be: `EN`, `en-GB`, `english` and `ne` are `en`.
fn meant(text: &str) -> Option<&'static str> {
    let lower = text.trim().to_lowercase();
    let code = lower.split(['-', '_']).next().unwrap_or_default();
    let known = |words: &&Words| words.code == code || words.english.to_lowercase() == lower;
    let near = || nearest(&lower, Lang::USUAL.map(|lang| lang.words().code));
    let known = WORDS.iter().find(known).map(|words| words.code);
    known
        .or_else(|| TWO_LETTERS.split(' ').find(|known| *known == code))
        .or_else(near)
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Lang {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Lang {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::of_letters(&text).ok_or_else(|| D::Error::custom(NoLanguage(None)))
    }
}

/// Returns languages as a part of a sentence, each in the form that `shown` gives it: `` `de`, `en` and `fr` ``.
pub(crate) fn listed(languages: &[Lang], shown: impl Fn(Lang) -> String) -> String {
    let mut texts: Vec<String> = languages.iter().map(|lang| shown(*lang)).collect();
    let last = texts.pop().unwrap_or_default();
    match texts.as_slice() {
        [] => last,
        before => format!("{} and {last}", before.join(", ")),
    }
}

/// A text in several languages, or one that is the same in all of them. It serializes as a map from codes to texts, in
/// which `und` is the text of all languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Localized(Vec<(Lang, String)>);

impl Localized {
    /// Returns a text that is the same in all languages.
    pub fn same(text: impl Into<String>) -> Self {
        Self(vec![(Lang::ANY, text.into())])
    }

    /// Returns a text in these languages. Of several texts in one language, the last one counts.
    pub fn of(texts: impl IntoIterator<Item = (Lang, String)>) -> Self {
        let mut found = Self::default();
        for (lang, text) in texts {
            match found.0.binary_search_by_key(&lang, |(lang, _)| *lang) {
                Ok(at) => found.0[at].1 = text,
                Err(at) => found.0.insert(at, (lang, text)),
            }
        }
        found.0.shrink_to_fit();
        found
    }

    /// Returns the text in one language. Where it is missing, that is the English text, or else the first one; it is
    /// empty only if there is no text at all.
    pub fn get(&self, lang: Lang) -> &str {
        let text = |lang: Lang| self.0.iter().find(|(known, _)| *known == lang);
        let found = text(lang)
            .or_else(|| text(Lang::EN))
            .or_else(|| self.0.first());
        found.map_or("", |(_, text)| text)
    }

    /// Returns all texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, text)| text.as_str())
    }
}

impl Serialize for Localized {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(lang, text)| (lang, text)))
    }
}

impl<'de> Deserialize<'de> for Localized {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = std::collections::BTreeMap::deserialize(deserializer)?;
        Ok(Self(texts.into_iter().collect()))
    }
}

/// What outputs say in a language.
#[derive(Debug)]
pub(crate) struct Words {
    /// The code of the language.
    pub code: &'static str,
    /// Its English name.
    pub english: &'static str,
    /// The name of the directory with all formats of the decks.
    pub slides: &'static str,
    /// The word before the text of a cell with the tag `answer`.
    pub answer: &'static str,
    /// The organization on title slides of a course of CLM that names none; empty in the languages that CLM lacks.
    pub organization: &'static str,
}

const ENGLISH: Words = Words {
    code: "en",
    english: "English",
    slides: "Slides",
    answer: "Answer",
    organization: "Coding-Academy Munich",
};

const fn words(
    code: &'static str,
    english: &'static str,
    slides: &'static str,
    answer: &'static str,
) -> Words {
    Words {
        code,
        english,
        slides,
        answer,
        organization: "",
    }
}

/// The languages whose words are known. Where no word is in general use, it is the English one.
static WORDS: &[Words] = &[
    Words {
        organization: "Coding-Akademie München",
        ..words("de", "German", "Folien", "Antwort")
    },
    ENGLISH,
    words("cs", "Czech", "Snímky", "Odpověď"),
    words("da", "Danish", "Slides", "Svar"),
    words("es", "Spanish", "Diapositivas", "Respuesta"),
    words("fi", "Finnish", "Diat", "Vastaus"),
    words("fr", "French", "Diapositives", "Réponse"),
    words("hu", "Hungarian", "Slides", "Válasz"),
    words("it", "Italian", "Diapositive", "Risposta"),
    words("ja", "Japanese", "スライド", "解答"),
    words("ko", "Korean", "슬라이드", "답"),
    words("nb", "Norwegian Bokmål", "Lysbilder", "Svar"),
    words("nl", "Dutch", "Slides", "Antwoord"),
    words("no", "Norwegian", "Lysbilder", "Svar"),
    words("pl", "Polish", "Slajdy", "Odpowiedź"),
    words("pt", "Portuguese", "Slides", "Resposta"),
    words("ro", "Romanian", "Diapozitive", "Răspuns"),
    words("ru", "Russian", "Слайды", "Ответ"),
    words("sv", "Swedish", "Bilder", "Svar"),
    words("tr", "Turkish", "Slaytlar", "Cevap"),
    words("uk", "Ukrainian", "Слайди", "Відповідь"),
    words("zh", "Chinese", "幻灯片", "答案"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_two_or_three_small_letters_and_others_get_a_hint() {
        for code in ["de", "en", "fr", "zh", "nds", "gsw"] {
            let lang: Lang = code.parse().unwrap();
            assert_eq!((lang.name(), lang.to_string().as_str()), (code, code));
        }
        for (text, hint) in [
            ("EN", "did you mean `en`?"),
            ("de-AT", "did you mean `de`?"),
            ("pt_BR", "did you mean `pt`?"),
            ("french", "did you mean `fr`?"),
            ("German", "did you mean `de`?"),
            ("ed", "did you mean `de`?"),
            ("und", "a language is a code of two or three"),
            ("", "a language is a code of two or three"),
            ("x1", "a language is a code of two or three"),
            ("é", "a language is a code of two or three"),
        ] {
            let error = text.parse::<Lang>().unwrap_err().to_string();
            assert!(error.starts_with(hint), "{text}: {error}");
        }
        let mut sorted = ["nds", "fr", "en", "de", "cs"].map(|code| Lang::parse(code).unwrap());
        sorted.sort();
        assert_eq!(
            listed(&sorted, |lang| lang.to_string()),
            "cs, de, en, fr and nds"
        );
    }

    #[test]
    fn a_missing_text_is_the_english_or_the_first_one() {
        let lang = |code: &str| Lang::parse(code).unwrap();
        let text = |codes: &[&str]| {
            Localized::of(codes.iter().map(|code| (lang(code), (*code).to_owned())))
        };
        let all = text(&["fr", "en", "de"]);
        assert_eq!((all.get(lang("fr")), all.get(lang("it"))), ("fr", "en"));
        let two = text(&["fr", "de"]);
        assert_eq!((two.get(Lang::EN), two.get(lang("fr"))), ("de", "fr"));
        assert_eq!(Localized::same("x").get(lang("ko")), "x");
        assert_eq!(Localized::default().get(Lang::DE), "");
    }

    #[test]
    fn both_serialize_as_texts() {
        let text = Localized::of([
            (Lang::EN, "Course".to_owned()),
            (Lang::DE, "Kurs".to_owned()),
        ]);
        let json = serde_json::to_string(&(&text, Lang::DE, Localized::same("x"))).unwrap();
        assert_eq!(json, r#"[{"de":"Kurs","en":"Course"},"de",{"und":"x"}]"#);
        let read: (Localized, Lang, Localized) = serde_json::from_str(&json).unwrap();
        assert_eq!(read, (text.clone(), Lang::DE, Localized::same("x")));
        let bytes = postcard::to_allocvec(&text).unwrap();
        assert_eq!(postcard::from_bytes::<Localized>(&bytes).unwrap(), text);
    }

    #[test]
    fn every_language_of_the_table_has_words() {
        for words in WORDS {
            let lang = Lang::parse(words.code).unwrap();
            assert_eq!(lang.words().code, words.code);
            assert!(!words.slides.is_empty() && !words.answer.is_empty());
            assert_eq!(
                crate::course::file_name::sanitize(words.slides),
                words.slides
            );
        }
        assert_eq!(Lang::parse("eo").unwrap().words().slides, "Slides");
    }
}
