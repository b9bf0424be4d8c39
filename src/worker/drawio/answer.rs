//! The page's answer about a document, and the diagnostics that follow from it.

use serde::Deserialize;

use crate::diagnostic::Diagnostic;

use super::assets::ORIGIN;

/// The maximum number of names that a warning lists; further ones are only counted.
const LISTED: usize = 8;

/// The answer of `page.js`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PageAnswer {
    /// Whether there is an image.
    pub ok: bool,
    /// If there is no image: the stage that failed.
    pub stage: String,
    /// If there is no image: the viewer's error.
    pub error: String,
    /// The width of the image in pixels.
    pub width: f64,
    /// The height of the image in pixels.
    pub height: f64,
    /// The image, if an SVG was requested.
    pub svg: String,
    missing_shapes: Vec<String>,
    failed_images: Vec<String>,
    math_errors: Vec<String>,
    missing_background: Option<String>,
    missing_fonts: Vec<String>,
    missing_characters: Vec<String>,
}

impl PageAnswer {
    /// Returns whether the viewer itself failed: it may be in a state that spoils later documents.
    pub fn is_stumble(&self) -> bool {
        !self.ok && matches!(self.stage.as_str(), "render" | "")
    }

    /// Returns the diagnostic that says why there is no image.
    pub fn failure(&self) -> Diagnostic {
        let error = self.error.lines().next().unwrap_or_default();
        match self.stage.as_str() {
            "decode" => Diagnostic::error("the compressed page cannot be unpacked")
                .detail(self.error.clone())
                .hint("open the file in draw.io and save it again, or take an older version of it"),
            "empty" => Diagnostic::error("nothing on the first page can be seen")
                .hint("draw something on the first page, or show its layers"),
            "extract" => Diagnostic::error("there is no page in the file")
                .hint("open the file in draw.io and save it again"),
            "size" => Diagnostic::error(format!(
                "the drawing is too large: {error} units, far beyond any page"
            ))
            .hint("look for a shape that was moved far away, and delete it"),
            _ => Diagnostic::error("draw.io's viewer fails on this diagram")
                .detail(self.error.clone())
                .hint("open the file in draw.io and look whether it is shown there; the style of a shape may be the cause"),
        }
    }

    /// Returns warnings about parts that do not look as the author intended.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        // Files of draw.io itself are named by their path there, and not by their address at the made-up origin.
        let (of_drawio, of_author): (Vec<String>, Vec<String>) = self
            .failed_images
            .iter()
            .map(|name| name.strip_prefix(ORIGIN).unwrap_or(name).to_owned())
            .partition(|name| name.starts_with("img/"));
        let background = self.missing_background.as_ref().map(|page| {
            Diagnostic::warning(format!(
                "the page that lies behind the first one is not in the file: `{page}`"
            ))
            .hint("choose another background page in draw.io, or none")
        });
        let warnings = [
            warning(
                "unknown shapes are drawn as rectangles",
                &self.missing_shapes,
                "they may belong to a library that is not part of draw.io",
            ),
            warning(
                "images are not part of this version of draw.io",
                &of_drawio,
                "choose another shape, or embed the image in the diagram",
            ),
            warning(
                "images cannot be shown",
                &of_author,
                "embed them in the diagram: there is no network and no file access here",
            ),
            background,
            warning(
                "fonts are not installed, so that texts have another width",
                &self.missing_fonts,
                "`clm setup` installs fonts for Helvetica, Arial, Times New Roman and Courier New; install others for your user",
            ),
            warning(
                "characters are in no installed font and are drawn as boxes",
                &self.missing_characters,
                "`clm setup` installs fonts for Chinese, Japanese, Korean and emoji; install one for others",
            ),
            warning(
                "formulas cannot be typeset",
                &self.math_errors,
                "correct the formula, or switch off mathematical typesetting in draw.io (Extras)",
            ),
        ];
        warnings.into_iter().flatten().collect()
    }
}

/// Returns the warning that lists the names, if there are any.
fn warning(message: &str, names: &[String], hint: &str) -> Option<Diagnostic> {
    let warning = || Diagnostic::warning(format!("{message}: {}", list(names))).hint(hint);
    (!names.is_empty()).then(warning)
}

fn list(names: &[String]) -> String {
    let mut listed: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.len() > LISTED {
        listed.push(format!("and {} more", names.len() - LISTED));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_diagnostics() {
        let answer: PageAnswer =
            serde_json::from_str(r#"{"ok":false,"stage":"size","error":"1 by 2"}"#).unwrap();
        assert!(!answer.is_stumble());
        assert!(answer.failure().message.contains("1 by 2 units"));
        let answer: PageAnswer =
            serde_json::from_str(r#"{"ok":false,"stage":"render","error":"x is not a function"}"#)
                .unwrap();
        assert!(answer.is_stumble());
        let failure = answer.failure();
        assert!(
            !failure.message.contains("x is not a function"),
            "{failure}"
        );
        assert_eq!(failure.detail.as_deref(), Some("x is not a function"));
        for stage in ["decode", "empty", "extract", "size", "render", "?"] {
            let answer = PageAnswer {
                stage: stage.to_owned(),
                ..PageAnswer::default()
            };
            assert!(answer.failure().hint.is_some(), "{stage}");
        }
    }

    #[test]
    fn warnings_name_what_is_missing() {
        let mut answer = PageAnswer {
            ok: true,
            missing_shapes: (0..10).map(|n| format!("s{n}")).collect(),
            failed_images: [
                "a.png",
                "http://drawio.invalid/b.png",
                "http://drawio.invalid/img/lib/c.svg",
            ]
            .map(str::to_owned)
            .into(),
            math_errors: vec!["unknown command \\x".to_owned()],
            ..PageAnswer::default()
        };
        let messages: Vec<String> = answer.warnings().into_iter().map(|w| w.message).collect();
        assert!(messages[0].ends_with("`s7`, and 2 more"), "{messages:?}");
        assert_eq!(
            messages[1],
            "images are not part of this version of draw.io: `img/lib/c.svg`"
        );
        assert_eq!(messages[2], "images cannot be shown: `a.png`, `b.png`");
        assert_eq!(
            messages[3],
            "formulas cannot be typeset: `unknown command \\x`"
        );
        answer = PageAnswer::default();
        assert!(answer.warnings().is_empty());
    }
}
