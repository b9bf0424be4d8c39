//! What a repository of a course has besides the course: `.gitignore`, a README, settings of editors, a workflow.

use super::{NewFile, Settings, code, has_kernel};

/// The tasks for VS Code, as authors of other courses copy them.
const TASKS: &str = include_str!("../../contrib/editors/vscode/tasks.json");
const EDITOR_SETTINGS: &str = include_str!("../../contrib/editors/vscode/settings.json");

/// What clm makes, and what kernels leave behind.
const GITIGNORE: &str = "\
/output/
/.clm/
img-generated/
__pycache__/
.ipynb_checkpoints/
.venv/
";

/// A pipeline that keeps results between its runs.
const WORKFLOW: &str = include_str!("workflow.yml");

/// Returns the files.
pub(super) fn files(settings: &Settings, has_workflow: bool) -> Vec<NewFile> {
    let mut files = vec![
        NewFile::new("README.md", readme(settings)),
        NewFile::new(".gitignore", GITIGNORE),
        NewFile::new(".vscode/settings.json", EDITOR_SETTINGS),
        NewFile::new(".vscode/tasks.json", TASKS),
    ];
    if has_workflow {
        files.push(NewFile::new(".github/workflows/course.yml", WORKFLOW));
    }
    files
}

fn readme(settings: &Settings) -> String {
    let texts = &settings.first().readme;
    let width = texts.commands.iter().map(|(command, _)| command.len());
    let width = width.max().unwrap_or_default();
    let commands: String = texts
        .commands
        .map(|(command, meaning)| format!("$ {command:width$}  # {meaning}\n"))
        .concat();
    let places: String = texts
        .places
        .map(|(place, meaning)| format!("- {place}: {meaning}\n"))
        .concat();
    let mut text = format!(
        "# {}\n\n{}\n\n```console\n{commands}```\n",
        settings.title, texts.intro
    );
    if !has_kernel(settings.prog_lang) {
        let language = code::name(settings.prog_lang);
        text += &format!("\n{}\n", texts.not_executed.replace("LANGUAGE", language));
    }
    text + &format!("\n## {}\n\n{places}", texts.files)
}
