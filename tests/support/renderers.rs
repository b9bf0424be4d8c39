//! The real renderers: each kind is installed, by clm's own setup code, when a story first needs it.
//!
//! What is installed is part of what a watch, its clients and the checkpoint compare. So nothing is installed while another
//! story runs, in this process or another one: from its first clm on a story holds a lock that an installation waits for.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clm::testing::tools::{Context, Needs, SetupOptions, locate, provision};
use clm::testing::worker::Renderers;

const NOTHING: Needs = Needs {
    html: false,
    python_kernel: false,
    typescript_kernel: false,
    plantuml: false,
    drawio: false,
};

/// The Python of clm: nbconvert and the kernel, which are one component.
pub const PYTHON: Needs = Needs {
    html: true,
    python_kernel: true,
    ..NOTHING
};

/// PlantUML with Graphviz.
pub const PLANTUML: Needs = Needs {
    plantuml: true,
    ..NOTHING
};

/// The draw.io viewer, the browser and the fonts.
pub const DRAWIO: Needs = Needs {
    drawio: true,
    ..NOTHING
};

thread_local! {
    /// The lock of the story, which has this thread for itself: shared while it runs, exclusive while it installs.
    static STORY: File = {
        let _turn = turn();
        let dir = Context::of_process(None).tools_dir;
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("tests.lock");
        let file = File::options().create(true).append(true).open(path).unwrap();
        file.lock_shared().unwrap();
        file
    };
}

/// The directory with what is installed.
pub fn tools_dir() -> PathBuf {
    Context::of_process(None).tools_dir
}

/// The renderers, of which at least those of these needs are installed.
pub fn renderers(needs: Needs) -> Renderers {
    provide(needs);
    locate::locate(&Context::of_process(None)).0
}

/// Installs what is missing of these needs. With `CLM_TESTS_INSTALL=no` nothing is installed: for the stories that need no
/// renderer, see `contrib/ci/quick.sh`.
pub fn provide(needs: Needs) {
    if std::env::var_os("CLM_TESTS_INSTALL").is_some_and(|install| install == "no") {
        return;
    }
    let context = Context::of_process(None);
    STORY.with(|story| {
        if is_known(&context, needs) {
            return;
        }
        // Two stories that both install would wait for each other's end.
        story.unlock().unwrap();
        let _turn = turn();
        if !is_known(&context, needs) {
            story.lock().unwrap();
            let options = SetupOptions::default();
            provision::setup(&context, &needs, &options, &mut |event| {
                eprintln!("{event}");
            })
            .expect("the renderers can be installed");
        }
        story.lock_shared().unwrap();
    });
}

/// Whether everything of these needs is installed. It is looked at until it is so.
fn is_known(context: &Context, needs: Needs) -> bool {
    static KNOWN: Mutex<Vec<Needs>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.contains(&needs) && provision::is_complete(context, &needs) {
        known.push(needs);
    }
    known.contains(&needs)
}

/// The turn of one story to install. Others do not begin meanwhile: an installation would wait for them as well.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
