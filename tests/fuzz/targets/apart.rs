//! Templates that may need any amount of memory are rendered by a process of their own, as clm does it: this same program, started
//! with another command.

use std::sync::Once;

use clm::testing::course::deck::render_apart_with;
use clm::testing::worker::template;

/// Called before `main`, which belongs to the test harness or to the fuzzer.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = serve_if_asked;

extern "C" fn serve_if_asked() {
    if std::env::args().nth(1).as_deref() == Some(template::COMMAND) {
        template::serve();
        std::process::exit(0);
    }
}

/// Renders templates that are not plain in processes from now on.
pub fn render_apart() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| render_apart_with(Box::new(template::Processes)));
}
