//! An input that takes too much memory or time ends the test program, which names the input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::thread::ThreadId;
use std::time::Duration;

/// What one input may take.
const MOST_BYTES: isize = 512 << 20;
/// What one input may take of a processor: on a busy machine it may take any time.
const MOST_TIME: Duration = Duration::from_secs(60);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static USED: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
}

static PEAK: AtomicUsize = AtomicUsize::new(0);
static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

/// What a thread runs.
struct Running {
    thread: ThreadId,
    target: &'static str,
    input: Vec<u8>,
    /// The number of the thread, and how long it had run before.
    task: libc::pid_t,
    before: Duration,
}

/// How long a thread has run.
fn processor_time(task: libc::pid_t) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{task}/schedstat"));
    let nanoseconds = text
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn count(bytes: isize) {
    let is_too_much = USED.try_with(|used| {
        used.set(used.get() + bytes);
        MOST.with(|most| most.set(most.get().max(used.get())));
        used.get() > MOST_BYTES && IS_WATCHED.replace(false)
    });
    if is_too_much == Ok(true) {
        fail(Some(std::thread::current().id()), "takes too much memory");
    }
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// From now on this thread runs an input.
pub fn watch(target: &'static str, input: &[u8]) {
    static CLOCK: Once = Once::new();
    CLOCK.call_once(|| {
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let running = RUNNING.lock().unwrap();
                let late = running
                    .iter()
                    .find(|one| processor_time(one.task).saturating_sub(one.before) > MOST_TIME);
                let late = late.map(|one| one.thread);
                drop(running);
                if late.is_some() {
                    fail(late, "takes too long");
                }
            }
        });
    });
    let thread = std::thread::current().id();
    let task = unsafe { libc::gettid() };
    RUNNING.lock().unwrap().push(Running {
        thread,
        target,
        input: input.to_vec(),
        task,
        before: processor_time(task),
    });
    USED.set(0);
    MOST.set(0);
    IS_WATCHED.set(true);
}

/// The input is done.
pub fn unwatch() {
    IS_WATCHED.set(false);
    let peak = usize::try_from(MOST.get()).unwrap_or_default();
    PEAK.fetch_max(peak, Ordering::Relaxed);
    let thread = std::thread::current().id();
    RUNNING.lock().unwrap().retain(|one| one.thread != thread);
}

/// The most memory that an input took, in bytes.
pub fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

/// Writes an input to a file, to be run again.
pub fn keep(target: &str, input: &[u8]) -> PathBuf {
    let name = blake3::hash(input).to_hex();
    let file = std::env::temp_dir().join(format!("clm-fuzz-{target}-{}", &name[..12]));
    std::fs::write(&file, input).unwrap();
    file
}

fn fail(thread: Option<ThreadId>, why: &str) {
    let running = RUNNING.lock().unwrap();
    for one in running.iter() {
        if Some(one.thread) == thread {
            eprintln!(
                "{}: {} {why}",
                one.target,
                keep(one.target, &one.input).display()
            );
        }
    }
    std::process::exit(101);
}
