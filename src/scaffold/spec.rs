//! `course.xml` of a new course.

use super::texts::Texts;
use super::{Settings, code, decks, has_kernel};
use crate::course::xml::escaped;

/// Returns the specification.
pub(super) fn course(settings: &Settings, slug: &str) -> String {
    let title = escaped(&settings.title);
    let author = escaped(&settings.author);
    let organization = match settings.organization.as_str() {
        "" => "<organization/>".to_owned(),
        name => format!("<organization>{}</organization>", escaped(name)),
    };
    let prog_lang = settings.prog_lang;
    let section = localized(settings, |texts| texts.course.section);
    let languages: String = (settings.languages.iter())
        .map(|lang| format!("<language>{lang}</language>"))
        .collect();
    let (attribute, comment) = match has_kernel(prog_lang) {
        true => ("", String::new()),
        false => {
            let text = settings.first().course.not_executed;
            let text = text.replace("LANGUAGE", code::name(prog_lang));
            (" evaluate=\"no\"", format!("        <!-- {text} -->\n"))
        }
    };
    let topics: String = [decks::COOLING, decks::TASK]
        .map(|id| format!("        <topic{attribute}>{id}</topic>\n"))
        .concat();
    let target = |name: &str, kinds: &[&str]| {
        let kinds: String = kinds
            .iter()
            .map(|kind| format!("<kind>{kind}</kind>"))
            .collect();
        format!(
            "    <output-target name=\"{name}\">
      <path>output/{name}</path>
      <kinds>{kinds}</kinds>
      <languages>{languages}</languages>
    </output-target>
"
        )
    };
    let targets = [
        target("students", &["code-along", "completed"]),
        target("trainer", &["trainer"]),
    ]
    .concat();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<course>
  <name>{title}</name>
  <project-slug>{slug}</project-slug>
  <prog-lang>{prog_lang}</prog-lang>
  <author>{author}</author>
  {organization}
  <sections>
    <section>
      <name>{section}</name>
      <topics>
{comment}{topics}      </topics>
    </section>
  </sections>
  <output-targets>
{targets}  </output-targets>
</course>
"
    )
}

/// Returns a text in all languages as the content of an element in a section.
fn localized(settings: &Settings, text: impl Fn(&'static Texts) -> &'static str) -> String {
    if !settings.is_marked() {
        return escaped(text(settings.first()));
    }
    let texts: String = settings
        .texts()
        .map(|(lang, texts)| format!("\n        <{lang}>{}</{lang}>", escaped(text(texts))))
        .collect();
    format!("{texts}\n      ")
}
