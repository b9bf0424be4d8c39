//! The Dockerfiles. There is no daemon of Docker here: instructions are checked, and those of the last stage are run in a
//! directory, but for the package manager of the system. `cargo build` is not run either: the binary is the one of the
//! suite.

use std::fs;

use clm::testing::tools::Needs;

use super::{Machine, copy, project};
use crate::support::renderers::{provide, tools_dir};

/// The instructions of a Dockerfile, with continued lines joined.
fn instructions(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(project(file)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let joined = lines.collect::<Vec<&str>>().join("\n").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, rest) = line.split_once(' ').unwrap();
            (
                name.to_owned(),
                rest.split_whitespace().collect::<Vec<&str>>().join(" "),
            )
        })
        .collect()
}

/// What the last stage left: the variables, the entry point, and the commands that were not run.
struct Image {
    home: tempfile::TempDir,
    entry: String,
    skipped: Vec<String>,
}

fn made_of(file: &str, machine: &Machine) -> Image {
    // What `clm setup` would install is installed before.
    provide(Needs::everything());
    let home = tempfile::tempdir().unwrap();
    let inside = |text: &str| {
        let root = home.path().to_str().unwrap();
        text.replace("/opt/clm", &format!("{root}/opt/clm"))
            .replace("/home/clm", &format!("{root}/home/clm"))
    };
    let mut image = Image {
        entry: String::new(),
        skipped: Vec::new(),
        home: tempfile::tempdir().unwrap(),
    };
    let mut stages = Vec::new();
    for (name, rest) in instructions(file) {
        match name.as_str() {
            "FROM" => stages.push(rest.split(" AS ").nth(1).unwrap_or_default().to_owned()),
            "COPY" => match rest.strip_prefix("--from=") {
                Some(rest) => {
                    let (stage, paths) = rest.split_once(' ').unwrap();
                    assert!(stages.iter().any(|known| known == stage), "{rest}");
                    assert_eq!(paths, "/src/target/release/clm /usr/local/bin/clm");
                }
                None => {
                    let (sources, _) = rest.rsplit_once(' ').unwrap();
                    for source in sources.split(' ') {
                        assert!(project(source).exists(), "`{source}` is not there");
                    }
                }
            },
            "RUN" if stages.len() == 1 => image.skipped.push(rest),
            "RUN" => {
                for command in rest.split(" && ") {
                    if command.starts_with("apt-get ") || command.starts_with("rm -rf /var/lib/apt")
                    {
                        image.skipped.push(command.to_owned());
                        continue;
                    }
                    let mut shell = machine.command("bash");
                    shell.args(["-ec", &inside(command)]);
                    shell.env("HOME", home.path().join("home/clm"));
                    // What is installed already is not downloaded again.
                    shell.env("CLM_TOOLS_DIR", tools_dir());
                    let _ = fs::create_dir_all(home.path().join("opt/clm/tools"));
                    let done = shell.output().unwrap();
                    assert!(
                        done.status.success(),
                        "{command}: {}",
                        String::from_utf8_lossy(&done.stderr)
                    );
                }
            }
            "ENV" => {
                let mut pairs = rest.split(' ').map(|pair| pair.split_once('=').unwrap());
                assert!(pairs.all(|(_, value)| value.starts_with('/')), "{rest}");
            }
            "WORKDIR" => assert!(rest.starts_with('/')),
            "ENTRYPOINT" => image.entry = rest.trim_matches(['[', ']', '"']).to_owned(),
            other => panic!("unknown instruction `{other}`"),
        }
    }
    assert!(home.path().join("home/clm").is_dir(), "the home is made");
    image.home = home;
    image
}

#[test]
fn an_image_without_renderers_publishes_what_an_image_with_them_made() {
    let first = Machine::new(true);
    let image = made_of("contrib/ci/docker/renderers.Dockerfile", &first);
    let of_system =
        |command: &str| command.starts_with("apt-get ") || command.starts_with("rm -rf ");
    let not_run: Vec<&String> = image
        .skipped
        .iter()
        .filter(|command| !of_system(command))
        .collect();
    assert_eq!(not_run, ["cargo build --release --locked --bin clm"]);
    let run = |machine: &Machine, image: &Image| {
        let mut command = machine.command(&image.entry);
        command.args(["build", "--summary", "clm-reports/summary.json"]);
        command.env("HOME", image.home.path().join("home/clm"));
        machine.course.mkdir("clm-reports");
        let done = command.output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    run(&first, &image);
    let second = Machine::new(false);
    copy(&first.root().join(".clm"), &second.root().join(".clm"));
    let image = made_of("contrib/ci/docker/hits.Dockerfile", &second);
    run(&second, &image);
    second.made_nothing();
    assert_eq!(first.course.outputs(), second.course.outputs());
}
