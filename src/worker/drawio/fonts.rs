//! The fonts of the browser: clm's fonts replace the usual ones, so that a text has the same width everywhere.

use std::path::{Path, PathBuf};

/// clm's font families, and the families that they replace: their characters have the same widths.
const STANDS_FOR: [(&str, &[&str]); 3] = [
    ("Arimo", &["Helvetica", "Helvetica Neue", "Arial"]),
    ("Tinos", &["Times", "Times New Roman"]),
    ("Cousine", &["Courier", "Courier New"]),
];
/// Generic families and their replacements.
const GENERIC: [(&str, &str); 3] = [
    ("sans-serif", "Arimo"),
    ("serif", "Tinos"),
    ("monospace", "Cousine"),
];

/// Returns the fontconfig configuration: directories with fonts, of which the first is clm's, and the cache directory.
pub(super) fn config(dirs: &[PathBuf], cache: &Path) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n<fontconfig>\n",
    );
    for dir in dirs {
        text.push_str(&format!("<dir>{}</dir>\n", escaped(dir)));
    }
    text.push_str(&format!("<cachedir>{}</cachedir>\n", escaped(cache)));
    for (family, names) in STANDS_FOR {
        for name in names {
            text.push_str(&format!(
                "<match target=\"pattern\"><test name=\"family\" qual=\"any\"><string>{name}</string></test>\
                 <edit name=\"family\" mode=\"assign\" binding=\"strong\"><string>{family}</string></edit></match>\n"
            ));
        }
    }
    for (generic, family) in GENERIC {
        text.push_str(&format!(
            "<alias><family>{generic}</family><prefer><family>{family}</family></prefer></alias>\n"
        ));
    }
    // So that the edges of characters are the same on every machine.
    text.push_str(
        "<match target=\"pattern\"><edit name=\"antialias\"><bool>true</bool></edit>\
         <edit name=\"hintstyle\"><const>hintslight</const></edit><edit name=\"rgba\"><const>none</const></edit></match>\n",
    );
    text.push_str("</fontconfig>\n");
    text
}

fn escaped(path: &Path) -> String {
    let text = path.display().to_string();
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fontconfig_reads_the_directories_and_names() {
        let dirs = ["/a&b/fonts".into(), "/usr/share/fonts".into()];
        let text = config(&dirs, Path::new("/cache"));
        let document = roxmltree::Document::parse_with_options(
            &text,
            roxmltree::ParsingOptions {
                allow_dtd: true,
                ..Default::default()
            },
        )
        .unwrap();
        let read: Vec<&str> = document
            .descendants()
            .filter(|node| node.has_tag_name("dir") || node.has_tag_name("cachedir"))
            .filter_map(|node| node.text())
            .collect();
        assert_eq!(read, ["/a&b/fonts", "/usr/share/fonts", "/cache"]);
        assert_eq!(text.matches("<string>Arimo</string>").count(), 3);
    }
}
