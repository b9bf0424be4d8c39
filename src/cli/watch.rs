//! `clm watch`: builds, builds again whenever something changes, and shows the result in a browser.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Place;
use crate::daemon::{Daemon, DaemonLock, Hub, MakeEngine, Reason, Sink};
use crate::engine::BuildOptions;
use crate::engine::driver::WATCH_TRIGGER;
use crate::error::{Error, Result};
use crate::events::{Event, Events};
use crate::parallel;
use crate::profile::Profile;
use crate::store::network_file_system;
use crate::ui::{self, MessageFormat, Paths, Reporter, Verbosity, Watch};
use crate::watch::Tuning;
use crate::web::{self, Access, Preview};

use super::daemon;
use super::keys;
use super::log::RotatingLog;
use super::options::MakeArgs;
use super::profile::ProfileArgs;
use super::session::{self, CourseArgs};

/// The default address of the preview.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm watch                                 build, and again on every change\n\
    \x20 clm watch --serve                         show it at http://127.0.0.1:8000\n\
    \x20 clm watch course.xml --serve 9000 --fast  another port; execute nothing")]
pub(super) struct WatchArgs {
    #[command(flatten)]
    pub course: CourseArgs,
    #[command(flatten)]
    pub make: MakeArgs,
    /// Show the course in a browser: an address, a port, or nothing for 127.0.0.1:8000
    #[arg(long, num_args = 0..=1, value_name = "ADDR", value_parser = parse_address, default_missing_value = "127.0.0.1:8000")]
    pub serve: Option<SocketAddr>,
    /// How long to wait after the last change of a file before building, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub settle: u64,
    /// Look at all files every second or so, for file systems that do not report changes
    #[arg(long)]
    pub poll: bool,
    /// How to report: text for people, JSON lines, or one line for each error with an absolute path (`short`, for editors)
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub message_format: Option<MessageFormat>,
    /// Also list what was copied and written
    #[arg(short, long)]
    pub verbose: bool,
    /// Install renderers that the course needs and that are missing
    #[arg(long)]
    pub setup: bool,
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// In the background: write to the log, and end after this many minutes without work
    #[arg(long, hide = true, value_name = "MINUTES")]
    pub background: Option<u64>,
    /// Build only what clients ask for; the value says what started it
    #[arg(long, hide = true, value_enum, value_name = "REASON")]
    pub on_request: Option<Reason>,
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::new(DEFAULT_ADDRESS.ip(), port));
    }
    if text == "localhost" {
        return Ok(DEFAULT_ADDRESS);
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return parse_address(port);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, DEFAULT_ADDRESS.port()));
    }
    text.parse()
        .map_err(|_| "an address is of the form `127.0.0.1:8000`".to_owned())
}

/// Runs the command until it is interrupted, and returns the exit code.
pub(super) fn run(args: &WatchArgs, profile: Option<Profile>) -> Result<u8> {
    run_here(args, profile).or_else(|error| {
        let place = args.course.place().ok();
        ui::print_error(&error, args.message_format, place.as_ref());
        Ok(error.exit_code())
    })
}

fn run_here(args: &WatchArgs, profile: Option<Profile>) -> Result<u8> {
    let course = args.course.course()?;
    let state_dir = course.place.state_dir();
    if args.on_request.is_none() {
        daemon::replace_automatic(&state_dir)?;
    }
    let lock = DaemonLock::take(&state_dir, args.on_request)?;
    let runtime = session::runtime()?;
    let result = runtime.block_on(watch(args, &course.place, lock, profile));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result.map(|()| 0)
}

async fn watch(
    args: &WatchArgs,
    place: &Place,
    lock: DaemonLock,
    profile: Option<Profile>,
) -> Result<()> {
    let cancel = CancellationToken::new();
    let (events, receiver) = Events::channel();
    let preview = args.serve.map(|_| Preview::new(place.root.clone()));
    let screen = Arc::new(Mutex::new(reporter(args, place)?));
    let address = match (args.serve, &preview) {
        (Some(address), Some(preview)) => {
            let log = Arc::clone(&screen);
            preview.log_to(move |line| parallel::lock(&log).print(line));
            let address = serve(address, preview, &cancel)?;
            parallel::lock(&screen).print(&preview_line(&address, args.background.is_some()));
            Some(address)
        }
        _ => None,
    };
    let hub = Hub::default();
    let mut sinks = sinks(&screen, preview);
    // First, so that the files are complete when the end of the run is reported.
    sinks.splice(0..0, profile.map(measure));
    let handed_on = hub.clone();
    let hand_on = std::thread::spawn(move || handed_on.run(receiver, sinks));
    let (ask, keys) = mpsc::unbounded_channel();
    let is_short = args.message_format == Some(MessageFormat::Short);
    if args.background.is_none() && !is_short && ui::can_draw() {
        let keyboard = keys::Keyboard {
            ask,
            screen: Arc::clone(&screen),
            preview: address.clone(),
            state_dir: place.state_dir(),
            is_fast: args.make.fast,
            cancel: cancel.clone(),
        };
        keyboard.listen();
    }
    let stop = cancel.clone();
    tokio::spawn(async move {
        if session::stop_signal().await.is_ok() {
            stop.cancel();
        }
    });
    let daemon = Daemon {
        lock,
        make: make_engine(args.clone()),
        options: BuildOptions {
            selection: args.make.selection(),
            fast: args.make.fast,
            trigger: WATCH_TRIGGER.to_owned(),
            keeps_foreign: args.make.no_replace,
            ..BuildOptions::default()
        },
        tuning: Tuning {
            quiet: Duration::from_millis(args.settle),
            cap: Duration::from_millis(500.max(args.settle * 4)),
            ..Tuning::default()
        },
        // Network file systems report no events from other machines.
        poll: args.poll || network_file_system(&place.root).is_some(),
        preview: address,
        events,
        hub,
        cancel: cancel.clone(),
        idle_exit: args
            .background
            .map(|minutes| Duration::from_secs(minutes * 60)),
        reason: args.on_request,
        keys,
    };
    let result = daemon.run().await;
    cancel.cancel();
    // With a time limit: a sender that is still in use must not prevent the end of the process.
    let printed = tokio::task::spawn_blocking(move || hand_on.join());
    let _ = tokio::time::timeout(Duration::from_secs(2), printed).await;
    parallel::lock(&screen).finish();
    result
}

/// The destination of messages: the screen, the log, or JSON.
pub(super) enum Screen {
    /// Output for a person.
    Watch(Box<Watch>),
    /// Output for a program.
    Program(Box<dyn Reporter>),
}

impl Screen {
    /// Prints a message on stderr.
    pub(super) fn print(&mut self, line: &str) {
        match self {
            Self::Watch(watch) => watch.print(line),
            Self::Program(_) => ui::print(line),
        }
    }

    fn event(&mut self, event: &Event) {
        match self {
            Self::Watch(watch) => watch.event(event),
            Self::Program(reporter) => reporter.event(event),
        }
    }

    fn finish(&mut self) {
        match self {
            Self::Watch(watch) => watch.finish(),
            Self::Program(reporter) => reporter.finish(),
        }
    }
}

fn reporter(args: &WatchArgs, place: &Place) -> Result<Screen> {
    let name = place.spec_name();
    if let Some(format @ (MessageFormat::Json | MessageFormat::Github | MessageFormat::Gitlab)) =
        args.message_format
    {
        return Ok(Screen::Program(ui::reporter(
            format,
            Some(place),
            Verbosity {
                quiet: false,
                verbose: args.verbose,
            },
        )));
    }
    let is_short = args.message_format == Some(MessageFormat::Short);
    Ok(Screen::Watch(Box::new(if args.background.is_some() {
        let log = RotatingLog::open(&crate::daemon::log_file(&place.state_dir()))?;
        Watch::lines(Box::new(log), name, args.verbose, false)
    } else if is_short {
        Watch::short(Box::new(std::io::stdout()), place.clone(), args.verbose)
    } else if ui::can_draw() {
        Watch::terminal(name, args.verbose).with_paths(Paths::of_person(Some(place)))
    } else {
        let colours = console::colors_enabled_stderr();
        Watch::lines(Box::new(std::io::stderr()), name, args.verbose, colours)
            .with_paths(Paths::of_person(Some(place)))
    })))
}

fn sinks(screen: &Arc<Mutex<Screen>>, preview: Option<Arc<Preview>>) -> Vec<Sink> {
    let screen = Arc::clone(screen);
    let mut sinks: Vec<Sink> = vec![Box::new(move |event| parallel::lock(&screen).event(event))];
    if let Some(preview) = preview {
        sinks.push(Box::new(move |event| preview.event(event)));
    }
    sinks
}

/// Returns a sink that writes the timings of every run.
fn measure(mut profile: Profile) -> Sink {
    Box::new(move |event| {
        if let Err(error) = profile.watch(event) {
            ui::print_diagnostics(&error.diagnostics);
        }
    })
}

/// Returns the line that shows the URL of the preview. The token in the URL is a secret, so it is omitted in logs.
pub(super) fn preview_line(address: &str, is_logged: bool) -> String {
    match address.split_once("?token=") {
        Some((open, _)) if is_logged || !std::io::stderr().is_terminal() => {
            format!("The preview is at {open} (`clm status` shows the address with its token)")
        }
        _ => format!("The preview is at {address}"),
    }
}

/// Starts the preview and returns its URL.
fn serve(
    address: SocketAddr,
    preview: &Arc<Preview>,
    cancel: &CancellationToken,
) -> Result<String> {
    let listener = web::bind(address)?;
    let local = listener
        .local_addr()
        .map_err(|error| Error::system("serve the preview", &error))?;
    let (access, url) = if local.ip().is_loopback() {
        (Access::Loopback, format!("http://{local}/"))
    } else {
        let token = uuid::Uuid::new_v4().simple().to_string();
        ui::print(&format!(
            "warning: everyone in the network who has the token can see the preview at `{local}`"
        ));
        let url = format!("http://{local}/?token={token}");
        (Access::Network { token }, url)
    };
    let (preview, cancel) = (Arc::clone(preview), cancel.clone());
    tokio::spawn(async move {
        if let Err(error) = web::serve(preview, listener, access, cancel).await {
            ui::print_diagnostics(&error.diagnostics);
        }
    });
    Ok(url)
}

/// Returns a function that creates an engine with the current settings of the course.
fn make_engine(args: WatchArgs) -> MakeEngine {
    Box::new(move |events, cancel| {
        let mut course = args.course.course()?;
        args.make.apply_to(&mut course);
        // A course whose specification is invalid is watched as well; its kernel is located when the specification is
        // corrected.
        let kernel = course
            .specification()
            .ok()
            .and_then(|specified| specified.spec.kernel_python);
        let context = session::tools_context(&course, kernel.as_deref());
        let workers = args.make.worker_settings(&course);
        let renderers = session::renderers(&course, &context)?;
        session::engine(
            course, renderers, &context, &workers, args.setup, events, cancel,
        )
    })
}
