//! Diagrams, and what their renderers answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clm::testing::course::RelPath;
use clm::testing::events::Severity;
use clm::testing::tools::{Context, Needs, SetupOptions, locate, setup};
use clm::testing::worker::drawio::answer::PageAnswer;
use clm::testing::worker::drawio::document;
use clm::testing::worker::plantuml::{self, Place};
use clm::testing::worker::protocol::{ProtocolWorker, RequestLimits};
use clm::testing::worker::request::{ImageFormat, OutcomeStatus, PlantumlWork};
use clm::testing::worker::{Request, Work, Worker as _};
use tokio_util::sync::CancellationToken;

use super::{check_error, text};

pub fn drawio(bytes: &[u8]) {
    let text = text(bytes);
    if let Err(error) = document::check(&text)
        && !text
            .trim_matches(['\u{feff}', ' ', '\t', '\r', '\n'])
            .is_empty()
    {
        check_error(&error, &text);
    }
}

/// What the page of draw.io's viewer answers.
pub fn answer(bytes: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<PageAnswer>(bytes) else {
        return;
    };
    let failure = answer.failure();
    assert!(
        failure.hint.is_some() && !failure.message.contains('\n'),
        "{failure}"
    );
    for warning in answer.warnings() {
        assert_eq!(warning.severity, Severity::Warning);
    }
}

/// PlantUML's process, and a course with files to include.
struct Jvm {
    runtime: tokio::runtime::Runtime,
    worker: ProtocolWorker,
    dir: tempfile::TempDir,
    id: u64,
}

const SOURCE: &str = "slides/pu/a.pu";

impl Jvm {
    fn start() -> Self {
        let context = Context::of_process(None);
        if locate::locate(&context).0.plantuml.is_none() {
            let needs = Needs {
                plantuml: true,
                ..Needs::default()
            };
            let options = SetupOptions::default();
            setup(&context, &needs, &options, &mut |_| {}).unwrap();
        }
        let tool = locate::locate(&context).0.plantuml;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("course");
        let home = root.join("slides/pu");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        let library = "!startsub part\nclass A\n!endsub\n!include c.iuml\n<img:d.png>\n";
        std::fs::write(home.join("a.iuml"), library).unwrap();
        std::fs::write(home.join("b.png"), "no picture").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let place = Place {
            root: &root,
            runtime_dir: dir.path(),
        };
        let tool = plantuml::found(tool.as_ref()).unwrap();
        let process = runtime.block_on(plantuml::start(tool, &place, 1)).unwrap();
        let limits = RequestLimits {
            // A busy machine may take any time, but not that.
            timeout: Some(Duration::from_secs(300)),
            ..RequestLimits::default()
        };
        Self {
            worker: ProtocolWorker::new(Arc::new(process), limits),
            runtime,
            dir,
            id: 0,
        }
    }

    fn render(&mut self, text: &str) {
        self.id += 1;
        let request = Request {
            id: self.id,
            source: RelPath::new(SOURCE).unwrap(),
            root: self.dir.path().join("course"),
            out: self.dir.path().join("out"),
            work: Work::Plantuml(PlantumlWork {
                text: text.to_owned(),
                format: ImageFormat::Svg,
                dpi: 96,
                limit: 2000,
            }),
        };
        let cancel = CancellationToken::new();
        let run = self.worker.run(&request, Arc::new(|_| {}), cancel);
        let outcome = match self.runtime.block_on(run) {
            Ok(outcome) => outcome,
            Err(error) => panic!("{error}"),
        };
        for discovered in &outcome.discovered {
            let mut parts = discovered.as_str().split('/');
            assert!(parts.all(|part| part != ".."), "{discovered}");
        }
        let errors = outcome.diagnostics.iter();
        let errors: Vec<_> = errors
            .filter(|found| found.severity == Severity::Error)
            .collect();
        assert_eq!(outcome.status == OutcomeStatus::Failed, !errors.is_empty());
        for error in errors {
            match error.file.as_deref() {
                None | Some(SOURCE) => check_error(error, text),
                Some(_) => assert!(error.line.is_some(), "{error}"),
            }
        }
    }
}

/// The text of a PlantUML diagram and what it refers to. Most texts are no diagrams for PlantUML itself, which takes its time:
/// what is tried here is what looks through them before and after it.
pub fn plantuml(bytes: &[u8]) {
    static JVM: Mutex<Option<Jvm>> = Mutex::new(None);
    let mut text = text(bytes);
    for name in ["a.puml", "a.pu"] {
        clm::testing::plan::is_library(&RelPath::new(name).unwrap(), &text);
    }
    let sum: usize = bytes.iter().map(|byte| usize::from(*byte)).sum();
    if !sum.is_multiple_of(100) {
        text = text.replace("@start", "@stort");
    }
    let mut jvm = JVM.lock().unwrap_or_else(PoisonError::into_inner);
    // One that failed is not used again.
    let mut running = jvm.take().unwrap_or_else(Jvm::start);
    running.render(&text);
    *jvm = Some(running);
}
